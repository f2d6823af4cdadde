// Who commits, and how git gets at GITHUB_TOKEN: the environment is asked when git asks, so no token is written anywhere.
//
// The session's own git reads ~/.gitconfig, which a build can write as well: on the first run in a sandbox it begins anew.
'use strict';

const path = require('node:path');

const { kindOf, remove, replace } = require('./files.cjs');
const { valueOf, written } = require('./settings.cjs');

const HELPER = path.join(__dirname, '..', 'harvest-git-credential');

/** The text that git hands to a shell for a repository's credential. */
function helperOf(text) {
  const url = new URL(text);
  const parts = [HELPER, url.protocol.slice(0, -1), url.host, decoded(url.pathname).replace(/^\/+|\/+$/g, '')];
  return `!${parts.map((part) => `'${part.replaceAll("'", "'\\''")}'`).join(' ')}`;
}

/** Paths reach helpers without percent signs. */
function decoded(pathname) {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname;
  }
}

/** Sets both, where they are not so already; answers with what the session should know. */
async function setUp({ checkout, remote, session, home, isFirst }) {
  const file = path.join(home, '.gitconfig');
  if (isFirst && kindOf(file) !== undefined) remove(file);
  const before = await checkout.settingsIn(file);
  const names = [['user.name', 'GIT_USER_NAME'], ['user.email', 'GIT_USER_EMAIL']];
  const wanted = names.filter(([, variable]) => session[variable]).map(([key, variable]) => [key, session[variable]]);
  for (const url of remote.token) {
    // The empty one puts every other helper out of force, for this repository alone.
    wanted.push([`credential.${url}.helper`, ''], [`credential.${url}.helper`, helperOf(url)], [`credential.${url}.usehttppath`, 'true']);
    wanted.push([`http.${url}.followredirects`, 'false']);
  }
  const others = before.filter(([key]) => !wanted.some(([name]) => name === key));
  // A folder with the files of a bare repository is none: a build, and the repository itself, can put one anywhere in the checkout.
  if (isFirst) others.unshift(['safe.barerepository', 'explicit']);
  // Last, so that the empty helper puts out of force what a session has added since.
  const after = [...others, ...wanted];
  if (written(after) !== written(before)) replace(file, written(after));
  return [...(await unset(checkout, after, names)), ...about(remote, session)];
}

async function unset(checkout, own, names) {
  const missing = names.filter(([key]) => !valueOf(own, key));
  const local = missing.length > 0 ? await checkout.settingsIn(path.join(checkout.folder, '.git/config')) : [];
  return missing.filter(([key]) => !valueOf(local, key)).map(([, variable]) => `${variable} is not set: commits will fail`);
}

function about({ url, token }, session) {
  if (!/^https?:/.test(url)) return [];
  if (token.length === 0) return [`GITHUB_TOKEN is not used for ${url}: the manifest does not name this repository`];
  return session.GITHUB_TOKEN ? [] : ['GITHUB_TOKEN is not set: only what is public can be fetched, and nothing pushed'];
}

module.exports = { setUp, helperOf };
