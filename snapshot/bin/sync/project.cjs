// Of the checkout itself what steers Claude Code and git before anything of the repository is run on purpose: as the commit has it.
//
// Neither the index is asked, in which a build can mark files as unchanged, nor are git's objects believed by their names.
'use strict';

const path = require('node:path');

const { kindOf, remove } = require('./files.cjs');
const { Keepsake } = require('./keepsake.cjs');
const { genuine } = require('./objects.cjs');

/** Read by Claude Code in a checkout and in every folder around it: settings, hooks, agents, skills, servers, and what is told the model. */
const CLAUDE = ['.claude', '.mcp.json', 'CLAUDE.md', 'CLAUDE.local.md', 'AGENTS.md'];
/** Read by git, and by git-lfs. */
const GIT = ['.gitmodules', '.lfsconfig'];

/** Puts it back to `commit`; answers with the names of what was different. */
async function putBack({ folder, git, isPartial, commit }) {
  const around = path.dirname(folder);
  const others = CLAUDE.map((name) => path.join(around, name)).filter((name) => name !== folder);
  const gone = others.filter((name) => remove(name));
  const names = guarded(folder);
  const before = new Keepsake(names);
  const tracked = await genuine({ git, isPartial }, commit, [...CLAUDE, ...GIT]);
  names.forEach((name) => remove(name));
  for (const name of tracked) await restore(git, commit, name);
  return [...gone, ...before.changed().map((name) => path.relative(folder, name))];
}

/** In the index as well where that is of the commit: else a session has been at work. */
async function restore(git, commit, name) {
  const head = await git(['rev-parse', '--verify', 'HEAD']);
  const where = head.stdout.trim() === commit ? ['--staged', '--worktree'] : ['--worktree'];
  await git(['restore', '--quiet', `--source=${commit}`, ...where, '--', name]);
}

/** What an install must leave as it is. */
function guarded(folder) {
  return [...CLAUDE, ...GIT].map((name) => path.join(folder, name));
}

/** Whether what a session would be told and given to run at this commit is the commit's. */
async function check({ git, isPartial, commit }) {
  await genuine({ git, isPartial }, commit, [...CLAUDE, ...GIT]);
}

module.exports = { putBack, check, guarded };
