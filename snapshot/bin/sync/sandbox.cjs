// Whether a file was written in this sandbox, or in the one that the prebuild was made in.
//
// Both run as the same user, and times can be set to anything. What a build cannot know is the name of a sandbox that is made from
// its prebuild later: a file that holds that name was written here.
'use strict';

const os = require('node:os');

/** Daytona gives every sandbox an id of its own, in this variable and as its host name. */
function sandboxId(environment) {
  return environment.DAYTONA_SANDBOX_ID || os.hostname();
}

module.exports = { sandboxId };
