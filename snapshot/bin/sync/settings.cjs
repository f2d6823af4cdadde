// Git's settings as text: written from what is known, and read without any of them coming into force.
//
// What a setting can do is a long list that grows with git, so of settings that somebody else wrote only those stay that are known
// to run nothing and to lead nowhere; the others are taken out and said.
'use strict';

/** Keys that may stay as a session left them, whatever their values; names are in lower case, as git lists them. */
const HARMLESS = [
  /^(user|author|committer|color|column|advice|alias|pull|push|rebase|rerere|log|status|tag|help|grep|stash|branch|commit)(\..*)?\.[a-z0-9-]+$/s,
  /^core\.(repositoryformatversion|filemode|bare|logallrefupdates|symlinks|ignorecase|autocrlf|eol|safecrlf|quotepath|abbrev)$/,
  /^core\.(compression|bigfilethreshold|sparsecheckout|sparsecheckoutcone|untrackedcache|splitindex|commentchar|whitespace|hookspath)$/,
  /^extensions\.(objectformat|partialclone|worktreeconfig|refstorage|relativeworktrees)$/,
  /^remote\..*\.(url|pushurl|fetch|push|tagopt|prune|prunetags|promisor|partialclonefilter|skipdefaultupdate|skipfetchall)$/s,
  /^(fetch\.(prune|prunetags|parallel)|merge\.(ff|conflictstyle|log|renames|stat)|diff\.(algorithm|renames|colormoved|noprefix|context))$/,
  /^submodule\.(.*\.)?(url|active|branch|ignore|shallow|recurse)$/s,
  /^lfs\.(repositoryformatversion|.*\.(access|locksverify))$/s,
];
const UPDATES = ['checkout', 'rebase', 'merge', 'none'];
/** The image's own, whatever is first on PATH. Files stay pointers until they are pulled; that is asked for by name. */
const LFS = {
  'filter.lfs.clean': '/usr/bin/git-lfs clean -- %f',
  'filter.lfs.smudge': '/usr/bin/git-lfs smudge --skip -- %f',
  'filter.lfs.process': '/usr/bin/git-lfs filter-process --skip',
  'filter.lfs.required': 'true',
};

function isHarmless([key, value]) {
  if (/^filter\.lfs\.(clean|smudge|process|required)$/.test(key)) {
    return /^((\/usr\/bin\/)?git-lfs (clean|smudge|filter-process)( --skip)?( -- %f)?|true|false)$/.test(value);
  }
  if (/^submodule\..*\.update$/s.test(key)) return UPDATES.includes(value);
  return HARMLESS.some((keys) => keys.test(key));
}

/** What `git config --null --list` prints, as pairs. */
function parsed(text) {
  return text.split('\0').filter(Boolean).map((entry) => {
    const at = entry.indexOf('\n');
    return at < 0 ? [entry, 'true'] : [entry.slice(0, at), entry.slice(at + 1)];
  });
}

/** A file of settings with these pairs, in this order. */
function written(entries) {
  let last;
  return entries.map(([key, value]) => {
    const [, section, name] = /^(.*)\.([^.]*)$/s.exec(key);
    const head = section === last ? '' : `${heading(section)}\n`;
    last = section;
    return `${head}\t${name} = ${quoted(value)}\n`;
  }).join('');
}

function heading(section) {
  const at = section.indexOf('.');
  return at < 0 ? `[${section}]` : `[${section.slice(0, at)} "${section.slice(at + 1).replace(/[\\"]/g, '\\$&')}"]`;
}

function quoted(value) {
  const escaped = value.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n').replace(/\t/g, '\\t');
  return /^[A-Za-z0-9+/][A-Za-z0-9+/:._@*-]*$/.test(value) ? value : `"${escaped}"`;
}

function valueOf(entries, key) {
  return entries.findLast(([name]) => name === key)?.[1];
}

module.exports = { LFS, isHarmless, parsed, written, valueOf };
