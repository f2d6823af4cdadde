// Which repository the session's token is for: the one that the fleet built from, by its whole URL, and none other on that host.
//
// `.git/config` is the build's to write. What it calls origin is believed when the manifest does not say it, and even then it gets
// the token only where it is what the target's name says.
'use strict';

const DEFAULT_HOST = 'github.com';
/** Hosts on which capitals in a path make no difference. */
const CASELESS = ['github.com', 'gitlab.com', 'bitbucket.org'];

/** `{ url, token }`: what is fetched from, and the URLs that the token may be used for. */
function remoteOf(manifest, existing) {
  const stated = plain(manifest.clone?.url);
  if (stated) return { url: stated, token: [stated, ...others(manifest)].filter(isWeb) };
  const found = fetchable(existing);
  if (found && isOfTarget(found, manifest.target)) return { url: found, token: [found] };
  if (found) return { url: found, token: [] };
  const { host, path } = partsOf(manifest.target);
  const url = `https://${host}/${path}.git`;
  return { url, token: [url] };
}

/** Further repositories that the fleet's settings name: submodules, and where LFS files lie. */
function others(manifest) {
  const also = manifest.checkout?.also;
  return Array.isArray(also) ? also.map(plain).filter(Boolean) : [];
}

/** As it is when nothing in it could mislead: no user, no query, nothing but a place. */
function plain(text) {
  const url = fetchable(text) && new URL(text);
  return url && !url.username && !url.password && !url.search && !url.hash ? text : undefined;
}

function fetchable(text) {
  // Spaces and control characters would end up in settings and in messages.
  if (typeof text !== 'string' || /[\0-\x20\x7f'"\\]/.test(text) || !URL.canParse(text)) return undefined;
  return ['http:', 'https:', 'file:'].includes(new URL(text).protocol) ? text : undefined;
}

function isWeb(url) {
  return /^https?:/.test(url);
}

function isOfTarget(text, target) {
  const { protocol, host, pathname, username, password, search, hash } = new URL(text);
  const wanted = partsOf(target);
  const sameCase = (path) => (CASELESS.includes(wanted.host) ? path.toLowerCase() : path);
  const path = pathname.replace(/^\//, '').replace(/\/$/, '').replace(/\.git$/, '');
  return protocol === 'https:' && !username && !password && !search && !hash && host === wanted.host && sameCase(path) === sameCase(wanted.path);
}

/** `[host/]owner/name@branch`; a host has a dot or a port, or is `localhost`. */
function partsOf(target) {
  const [whole] = target.split('@');
  const [first, ...rest] = whole.split('/');
  const isHost = rest.length > 1 && /[.:]|^localhost$/.test(first);
  return isHost ? { host: first.toLowerCase(), path: rest.join('/') } : { host: DEFAULT_HOST, path: whole };
}

module.exports = { remoteOf };
