/**
 * The entry file. It must parse and run on any Node since 20: it checks the version before
 * anything else is loaded, because the packages below need Node 24 and would fail at import.
 */
const NODE_NEEDED = 24;

const isNodeTooOld = Number(process.versions.node.split('.')[0]) < NODE_NEEDED;
if (isNodeTooOld) {
  process.stderr.write(
    `error [config_invalid] pve-reconciler needs Node ${NODE_NEEDED} or newer, this is ${process.versions.node}\n` +
      `hint: install Node ${NODE_NEEDED}, or run it as \`npm exec pve-reconciler\` inside the repository\n`,
  );
  process.exitCode = 78;
} else {
  const { runCli } = await import('./command-line/cli.ts');
  process.exitCode = await runCli(process.argv.slice(2));
}
