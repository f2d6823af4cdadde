// Who commits, and how git gets at GITHUB_TOKEN: the environment is asked when git asks, so no token is written anywhere.
'use strict';

/** Text that git hands to a shell. Only `get` is answered: there is nothing to store and nothing to erase. */
const HELPER =
  '!f() { if [ "$1" = get ] && [ -n "$GITHUB_TOKEN" ]; then printf "username=x-access-token\\npassword=%s\\n" "$GITHUB_TOKEN"; fi; }; f';

/** Sets both, where they are not so already; answers with what the session should know. */
async function setUp(checkout, environment) {
  const warnings = [];
  for (const [key, variable] of [['user.name', 'GIT_USER_NAME'], ['user.email', 'GIT_USER_EMAIL']]) {
    if (environment[variable]) await setOnce(checkout, key, [environment[variable]], warnings);
    else if (!(await checkout.says('config', '--get', key))) warnings.push(`${variable} is not set: commits will fail`);
  }
  const origin = originOf(await checkout.says('config', '--get', 'remote.origin.url'));
  if (!origin) return warnings;
  // The empty one puts every other helper out of force, for this host alone.
  await setOnce(checkout, `credential.${origin}.helper`, ['', HELPER], warnings);
  if (!environment.GITHUB_TOKEN) warnings.push('GITHUB_TOKEN is not set: only what is public can be fetched, and nothing pushed');
  return warnings;
}

/** `https://host:port`; undefined for remotes that take no credential. */
function originOf(url) {
  try {
    const { protocol, host } = new URL(url);
    return ['http:', 'https:'].includes(protocol) ? `${protocol}//${host}` : undefined;
  } catch {
    return undefined;
  }
}

async function setOnce(checkout, key, values, warnings) {
  const { stdout } = await checkout.git(['config', '--global', '--null', '--get-all', key]);
  if (stdout === values.map((value) => `${value}\0`).join('')) return;
  const [first, ...others] = values;
  const calls = [['--replace-all', key, first], ...others.map((value) => ['--add', key, value])];
  for (const call of calls) {
    const end = await checkout.git(['config', '--global', ...call]);
    if (end.code !== 0) warnings.push(`${key} could not be set: ${checkout.lastLine(end)}`);
  }
}

module.exports = { setUp, HELPER };
