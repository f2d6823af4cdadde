// What steers git, shells and Claude Code, as the fleet and the image have it: before the remote is asked, and again after an install,
// which runs the repository's code.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const home = require('./home.cjs');
const { setUp } = require('./identity.cjs');
const { Keepsake } = require('./keepsake.cjs');
const project = require('./project.cjs');
const { Repository } = require('./repository.cjs');
const { list } = require('./run.cjs');
const { plainTexts } = require('./surroundings.cjs');

class PutBack {
  constructor({ checkout, manifest, session, home: folder }) {
    Object.assign(this, { checkout, manifest, session, home: folder });
    const [git, settings] = [(...call) => checkout.git(...call), (file) => checkout.settingsIn(file)];
    this.repository = new Repository({ folder: checkout.folder, branch: checkout.branch, manifest, git, settings });
  }

  /**
   * From then on the remote may be asked. What a build left goes on the first run in a sandbox alone; the session's own settings
   * stay later, but for those that git would run something for. Answers with what the session should know.
   */
  async before(isFirst) {
    const { checkout, repository, session } = this;
    const known = plainTexts(this.manifest.home);
    const gone = isFirst ? home.putBack(this.home, { temporary: os.tmpdir(), known }) : [];
    await repository.putBack(isFirst);
    if (isFirst) gone.push(...(await project.putBack(this.#at(this.manifest.commit))));
    checkout.use(repository);
    const said = await setUp({ checkout, remote: repository.remote, session, home: this.home, isFirst });
    return [...told(gone), ...repository.notes, ...said];
  }

  #at(commit) {
    const { folder, git, facts } = this.repository;
    return { folder, git, isPartial: facts.filter !== undefined, commit };
  }

  /** Throws where what has been checked out is not the commit's. Answers with what the session should know. */
  async check(commit) {
    await project.check(this.#at(commit));
    return told(home.check(this.home));
  }

  /** Before the checkout is moved, for git not to wait on the way. Answers with what the session should know. */
  async beforeMove(from, to, isFirst) {
    return told(await this.repository.unblockFor(from, to, isFirst));
  }

  /** Remembers how it is now; answers with what puts it back so, and tells what had been changed. */
  guard() {
    const { gitFolder, folder, steering } = this.repository;
    const before = home.guarded(this.home);
    const keepsake = new Keepsake([...steering, ...before.settings.map((name) => path.join(this.home, name)), ...project.guarded(folder)]);
    const inode = inodeOf(gitFolder);
    return async () => {
      if (inodeOf(gitFolder) !== inode) throw new Error(`the install put something else in place of ${gitFolder}`);
      const restored = keepsake.restore();
      const blocking = await this.repository.unblock();
      const after = home.guarded(this.home);
      const added = ['settings', 'programs'].flatMap((kind) => after[kind].filter((name) => !before[kind].includes(name)));
      const changed = [...restored, ...blocking, ...home.removeAll(this.home, added)];
      return changed.length > 0 ? [`the install changed what is not its own, which is as it was again: ${list(changed)}`] : [];
    };
  }
}

function told(gone) {
  return gone.length > 0 ? [`left by the prebuild's build and taken out: ${list(gone, 10)}`] : [];
}

function inodeOf(name) {
  const stat = fs.lstatSync(name, { throwIfNoEntry: false });
  return stat?.isDirectory() ? stat.ino : undefined;
}

module.exports = { PutBack };
