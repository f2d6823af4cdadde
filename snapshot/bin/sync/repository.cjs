// `.git` as it should be: what git would run or follow is put back to what the fleet knows, before git is given any token.
//
// A build can write all of it, and git itself cannot be told to pass over a repository's own settings. So on the first run in a
// sandbox `.git/config` is written anew, from the manifest, and of the rest of `.git` only data stays; on later runs settings that
// could run something or lead elsewhere are taken out and the session's other ones stay. All by file operations.
//
// LFS: `filter.lfs.*` is set, to the image's git-lfs, where the prebuild's checkout has LFS files; a repository's tracked
// `.gitattributes` then name that filter. Whatever other filter, diff or merge driver they name has no program, so git does nothing.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { isRealFolder, kindOf, makeFolder, remove, replace, textOf } = require('./files.cjs');
const { newIndex, onlyFiles, plainRefs, refreshIndex, setRef } = require('./plain.cjs');
const { remoteOf } = require('./remote.cjs');
const { list } = require('./run.cjs');
const { LFS, isHarmless, valueOf, written } = require('./settings.cjs');
const { isInside, makeReadable, namesIn, removeBlocking } = require('./tree.cjs');

/** What stays of a repository's folder, by what it must be. Lock files may be those of a git at work. */
const DATA = {
  HEAD: 'file', 'packed-refs': 'file', index: 'file', shallow: 'file', description: 'file',
  objects: 'folder', refs: 'folder', logs: 'folder', lfs: 'folder', info: 'folder', modules: 'folder',
};
const FILTER = /^(blob:none|blob:limit=[0-9]+[kmg]?|tree:[0-9]+)$/;
/** Pushing LFS files is done by this hook; the others keep locked files read-only. */
const LFS_HOOKS = ['pre-push', 'post-checkout', 'post-commit', 'post-merge'];

class Repository {
  /** `git` runs the image's git in the checkout, `settings` reads a file of settings; neither is given a token. */
  constructor({ folder, branch, manifest, git, settings }) {
    Object.assign(this, { folder, branch, manifest, git, settings });
    this.gitFolder = path.join(folder, '.git');
    this.notes = [];
  }

  /** Puts it back. From then on `remote` says where the token may go, and what was taken out is in `notes`. */
  async putBack(isFirst) {
    removeBlocking(this.gitFolder);
    const read = await this.#read(this.gitFolder);
    const found = Object.values(read).flat();
    this.remote = remoteOf(this.manifest, valueOf(found, 'remote.origin.url'));
    this.facts = this.#facts(found, isFirst);
    if (isFirst) {
      this.#note('settings that could run something or lead elsewhere', keysOf(found.filter((entry) => !isHarmless(entry))));
      this.#strip(this.gitFolder, this.facts);
      replace(path.join(this.gitFolder, 'config'), written(this.#known()));
      if (this.facts.lfs) this.#lfsHooks();
      setRef(this.gitFolder, `refs/remotes/origin/${this.branch}`, this.manifest.commit);
      const index = await newIndex(this.git, this.gitFolder);
      await this.#readable(this.folder, { isFirst, environment: { GIT_INDEX_FILE: index } });
      await this.#nested(isFirst);
      await refreshIndex(this.git, index, this.facts);
      return;
    }
    this.#filter(this.gitFolder, read, [['remote.origin.url', this.remote.url]]);
    await this.#readable(this.folder, { isFirst });
    await this.#nested(isFirst);
  }

  /** What the repository's code may have left since where git would wait for it; answers with the names of that. */
  async unblock() {
    const found = removeBlocking(this.gitFolder).map((name) => `.git/${name}`);
    for (const folder of [this.folder, ...this.trees]) {
      const names = await makeReadable({ git: this.git, folder, isFirst: false });
      found.push(...names.map((name) => path.join(path.relative(this.folder, folder), name)));
    }
    return found;
  }

  /** The same in folders that one of these commits has, before the checkout is moved from one to the other. */
  async unblockFor(from, to, isFirst) {
    const { code, bytes } = await this.git(['diff-tree', '-r', '-z', '--no-renames', '--name-only', from, to]);
    return code === 0 ? makeReadable({ git: this.git, folder: this.folder, isFirst, more: namesIn(bytes) }) : [];
  }

  async #readable(folder, how) {
    const names = await makeReadable({ git: this.git, folder, ...how });
    this.#note('pipes and attributes that git would have read', names.map((name) => path.join(path.relative(this.folder, folder), name)));
  }

  /** Files that git takes settings or programs from, here and in submodules. */
  get steering() {
    const folders = [this.gitFolder, ...(this.modules ?? [])];
    return folders.flatMap((each) => ['config', 'config.worktree', 'commondir', 'hooks', 'info'].map((name) => path.join(each, name)));
  }

  /** A repository's settings, by the file that they are in. */
  async #read(gitFolder) {
    remove(path.join(gitFolder, 'commondir'));
    const read = {};
    for (const name of ['config', 'config.worktree']) read[name] = await this.settings(path.join(gitFolder, name));
    return read;
  }

  /**
   * How the checkout was made: by the manifest. As the checkout itself has it where that does not say, and once a session may have
   * changed it: believing that wrongly runs the image's programs in vain, and no others.
   */
  #facts(found, isFirst) {
    const stated = isFirst ? this.manifest.checkout : undefined;
    const filter = stated ? stated.filter : valueOf(found, 'remote.origin.partialclonefilter');
    const hasPatterns = kindOf(path.join(this.gitFolder, 'info/sparse-checkout')) === 'file';
    const isSparse = stated ? stated.sparse?.length > 0 : valueOf(found, 'core.sparsecheckout') === 'true';
    return {
      filter: FILTER.test(filter) ? filter : undefined,
      sparse: hasPatterns && isSparse,
      lfs: stated ? stated.lfs === true : valueOf(found, 'filter.lfs.process') !== undefined,
      submodules: stated ? stated.submodules === true : kindOf(path.join(this.gitFolder, 'modules')) === 'folder',
    };
  }

  #known() {
    const { filter, sparse, lfs } = this.facts;
    const isSha256 = this.manifest.commit.length === 64;
    const origin = [['remote.origin.url', this.remote.url], ['remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*']];
    return [
      ...core(isSha256 || filter ? '1' : '0'),
      ...(sparse ? [['core.sparsecheckout', 'true'], ['core.sparsecheckoutcone', 'true']] : []),
      ...(isSha256 ? [['extensions.objectformat', 'sha256']] : []),
      ...(filter ? [['extensions.partialclone', 'origin']] : []),
      ...origin,
      ...(filter ? [['remote.origin.promisor', 'true'], ['remote.origin.partialclonefilter', filter]] : []),
      [`branch.${this.branch}.remote`, 'origin'],
      [`branch.${this.branch}.merge`, `refs/heads/${this.branch}`],
      ...(lfs ? [['lfs.repositoryformatversion', '0'], ...Object.entries(LFS)] : []),
    ];
  }

  /** Leaves data, and of what lies beside it nothing that leads elsewhere. */
  #strip(gitFolder, { sparse, submodules }) {
    for (const name of fs.readdirSync(gitFolder)) {
      const isLock = name.endsWith('.lock') && kindOf(path.join(gitFolder, name)) === 'file';
      const isShared = /^sharedindex\.[0-9a-f]+$/.test(name);
      if (!isLock && !isShared && kindOf(path.join(gitFolder, name)) !== DATA[name]) remove(path.join(gitFolder, name));
    }
    if (!submodules) remove(path.join(gitFolder, 'modules'));
    // Other objects' folders, and lists that only make git quicker.
    remove(path.join(gitFolder, 'objects/info'));
    plainRefs(gitFolder);
    for (const name of ['objects', 'lfs', 'modules']) onlyFiles(path.join(gitFolder, name));
    const info = path.join(gitFolder, 'info');
    makeFolder(info);
    for (const name of fs.readdirSync(info)) if (!(sparse && name === 'sparse-checkout')) remove(path.join(info, name));
    if (kindOf(path.join(gitFolder, 'HEAD')) === undefined) replace(path.join(gitFolder, 'HEAD'), `ref: refs/heads/${this.branch}\n`);
  }

  #lfsHooks() {
    makeFolder(path.join(this.gitFolder, 'hooks'));
    for (const name of LFS_HOOKS) replace(path.join(this.gitFolder, 'hooks', name), `#!/bin/sh\nexec /usr/bin/git-lfs ${name} "$@"\n`, 0o755);
  }

  /** Takes out of a repository's settings what is not known to be harmless, and sets what must be so. */
  #filter(gitFolder, read, musts, isKept = isHarmless) {
    for (const [name, found] of Object.entries(read)) {
      const file = path.join(gitFolder, name);
      if (kindOf(file) === undefined && name !== 'config') continue;
      const wanted = name === 'config' ? musts : [];
      const [gone, kept] = [found.filter((entry) => !isKept(entry)), found.filter(isKept)];
      const others = kept.filter(([key]) => !wanted.some(([must]) => must === key));
      const isSo = wanted.every(([key, value]) => kept.filter(([other]) => other === key).map(([, is]) => is).join('\0') === value);
      if (gone.length === 0 && isSo && kindOf(file) === 'file') continue;
      replace(file, written([...others, ...wanted]));
      this.#note('settings that could run something or lead elsewhere', keysOf(gone));
      if (!isSo) this.notes.push(`${path.relative(this.folder, file)} has ${keysOf(wanted).join(', ')} of the prebuild again`);
    }
  }

  /** Repositories within the checkout: submodules that belong there, and on the first run no others. */
  async #nested(isFirst) {
    [this.modules, this.trees] = [[], []];
    const hasModules = kindOf(path.join(this.gitFolder, 'modules')) === 'folder';
    if (!isFirst && !hasModules) return;
    const around = path.dirname(this.folder);
    if (isFirst && path.join(around, '.git') !== this.folder && remove(path.join(around, '.git'))) this.#note('repositories around the checkout', [around]);
    const populated = await this.#level(this.folder, this.gitFolder, isFirst);
    if (!isFirst) return;
    this.#prune(path.join(this.gitFolder, 'modules'));
    if (populated.length === 0) return;
    const end = await this.git(['submodule', '--quiet', 'sync', '--recursive']);
    if (end.code !== 0) this.notes.push('the submodules could not be set up again');
  }

  /** One repository's submodules, and theirs; answers with those that have files. */
  async #level(folder, gitFolder, isFirst) {
    const { links, folders } = await this.#tracked(folder);
    const isStray = (name) => !links.includes(name) && isRealFolder(path.join(folder, name)) && remove(path.join(folder, name, '.git'));
    const strays = isFirst ? folders.filter(isStray) : [];
    this.#note('repositories in the middle of the checkout', strays);
    const populated = [];
    for (const link of links) if (await this.#submodule(folder, gitFolder, link, isFirst)) populated.push(link);
    if (isFirst && populated.length > 0) await this.git(['submodule', '--quiet', 'init', '--', ...populated], { cwd: folder });
    return populated;
  }

  async #tracked(folder) {
    const { code, stdout } = await this.git(['ls-files', '--stage', '-z'], { cwd: folder });
    const entries = (code === 0 ? stdout : '').split('\0').filter(Boolean).map((line) => ({ mode: line.slice(0, 6), name: line.slice(line.indexOf('\t') + 1) }));
    const known = entries.filter(({ name }) => isInside(name));
    const folders = new Set();
    for (const { name } of known) {
      for (let up = path.posix.dirname(name); up !== '.' && !folders.has(up); up = path.posix.dirname(up)) folders.add(up);
    }
    return { links: known.filter(({ mode }) => mode === '160000').map(({ name }) => name), folders: [...folders] };
  }

  /** True when it has files and its repository is one of ours, which is then put back as well. */
  async #submodule(folder, gitFolder, link, isFirst) {
    const dot = path.join(folder, link, '.git');
    if (kindOf(dot) === undefined || !isRealFolder(path.dirname(dot))) return false;
    const module_ = this.facts.submodules ? moduleOf(folder, gitFolder, link) : undefined;
    if (!module_ || this.modules.includes(module_)) {
      remove(dot);
      this.#note('repositories in the middle of the checkout', [link]);
      return false;
    }
    this.modules.push(module_);
    this.trees.push(path.join(folder, link));
    const musts = [['core.worktree', path.relative(module_, path.join(folder, link))]];
    const read = await this.#read(module_);
    if (isFirst) {
      const url = valueOf(read.config, 'remote.origin.url') ?? '';
      this.#strip(module_, { submodules: true });
      const origin = [['remote.origin.url', url], ['remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*']];
      replace(path.join(module_, 'config'), written([...core('0'), ...musts, ...origin]));
    } else this.#filter(module_, read, musts, (entry) => isHarmless(entry) || entry[0] === 'core.worktree');
    await this.#readable(path.join(folder, link), { isFirst });
    await this.#level(path.join(folder, link), module_, isFirst);
    return true;
  }

  /** Of the folder for submodules' repositories, what no submodule of the checkout uses. */
  #prune(folder) {
    if (kindOf(folder) !== 'folder') return;
    for (const name of fs.readdirSync(folder)) {
      const each = path.join(folder, name);
      if (this.modules.includes(each)) this.#prune(path.join(each, 'modules'));
      else if (this.modules.some((used) => used.startsWith(`${each}${path.sep}`))) this.#prune(each);
      else remove(each);
    }
  }

  #note(what, names) {
    if (names.length > 0) this.notes.push(`${what} were taken out: ${list(names)}`);
  }
}

function keysOf(entries) {
  return [...new Set(entries.map(([key]) => key))];
}

function core(version) {
  return [['core.repositoryformatversion', version], ['core.filemode', 'true'], ['core.bare', 'false'], ['core.logallrefupdates', 'true']];
}

/** The repository that a submodule's `.git` names, where it lies among those of the one above it, without a link on the way. */
function moduleOf(folder, gitFolder, link) {
  const named = /^gitdir: ([^\n]+)\n?$/.exec(textOf(path.join(folder, link, '.git'), 4096) ?? '')?.[1];
  if (!named) return undefined;
  const module_ = path.resolve(folder, link, named);
  if (!module_.startsWith(`${path.join(gitFolder, 'modules')}${path.sep}`) || !isRealFolder(module_)) return undefined;
  return kindOf(path.join(module_, 'objects')) === 'folder' ? module_ : undefined;
}

module.exports = { Repository };
