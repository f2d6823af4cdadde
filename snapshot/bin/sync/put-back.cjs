// What steers git, shells and Claude Code, as the fleet and the image have it: before the remote is asked, and again after an install,
// which runs the repository's code.
'use strict';

const fs = require('node:fs');

const home = require('./home.cjs');
const { setUp } = require('./identity.cjs');
const { Keepsake } = require('./keepsake.cjs');
const { Repository } = require('./repository.cjs');
const { list } = require('./run.cjs');

class PutBack {
  constructor({ checkout, manifest, session, home: folder }) {
    Object.assign(this, { checkout, session, home: folder });
    const [git, settings] = [(...call) => checkout.git(...call), (file) => checkout.settingsIn(file)];
    this.repository = new Repository({ folder: checkout.folder, branch: checkout.branch, manifest, git, settings });
  }

  /**
   * From then on the remote may be asked. What a build left goes on the first run in a sandbox alone; the session's own settings
   * stay later, but for those that git would run something for. Answers with what the session should know.
   */
  async before(isFirst) {
    const { checkout, repository, session } = this;
    const gone = isFirst ? home.putBack(this.home) : [];
    await repository.putBack(isFirst);
    if (isFirst) gone.push(...(await home.putBackProject(repository)));
    checkout.use(repository);
    const said = await setUp({ checkout, remote: repository.remote, session, home: this.home, isFirst });
    return [...(gone.length > 0 ? [`left by the prebuild's build and taken out: ${list(gone, 10)}`] : []), ...repository.notes, ...said];
  }

  /** Remembers how it is now; answers with what puts it back so, and tells what had been changed. */
  guard() {
    const { gitFolder, folder, steering } = this.repository;
    const keepsake = new Keepsake([...steering, ...home.steering(this.home, folder)]);
    const [shadows, inode] = [home.shadows(this.home), inodeOf(gitFolder)];
    return () => {
      if (inodeOf(gitFolder) !== inode) throw new Error(`the install put something else in place of ${gitFolder}`);
      const added = home.shadows(this.home).filter((name) => !shadows.includes(name));
      const changed = [...keepsake.restore(), ...home.removeShadows(this.home, added)];
      return changed.length > 0 ? [`the install changed what is not its own, which is as it was again: ${list(changed)}`] : [];
    };
  }
}

function inodeOf(name) {
  const stat = fs.lstatSync(name, { throwIfNoEntry: false });
  return stat?.isDirectory() ? stat.ino : undefined;
}

module.exports = { PutBack };
