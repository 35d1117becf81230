/**
 * `npm run package`: dist/pve-reconciler_VERSION_amd64.deb, made by Debian's own dpkg-deb and
 * looked over by lintian. Nothing is fetched: the Node runtime is the one of node_modules, and goes
 * in only if its SHA-256 is the committed one.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import packageJson from '../package.json' with { type: 'json' };
import { buildProgram } from './build.ts';
import { configPage, manPage } from './man-page.ts';
import { thirdPartyNotices } from './notices.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const deploy = (path: string): string => join(root, 'deploy', path);

const NAME = 'pve-reconciler';
/** A release has a date of its own; until then the day its version was first built. */
const DATE = '2026-11-21';
const MAINTAINER = 'pve-reconciler maintainers <maintainers@pve-reconciler.invalid>';
const SCRIPTS = ['postinst', 'prerm', 'postrm'];
const WRAPPER = `#!/bin/sh
exec /usr/lib/${NAME}/node /usr/lib/${NAME}/${NAME}.js "$@"
`;

function put(staged: string, path: string, content: string | Buffer, mode = 0o644): string {
  const file = join(staged, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  chmodSync(file, mode);
  return file;
}

function copy(staged: string, from: string, path: string, mode = 0o644): void {
  put(staged, path, readFileSync(from), mode);
}

function zipped(text: string | Buffer): Buffer {
  return gzipSync(text, { level: 9 });
}

/** Throws where it is not, byte for byte, the runtime whose sum is committed. */
function putRuntime(staged: string): void {
  const file = join(root, 'node_modules/node/bin/node');
  const sum = createHash('sha256').update(readFileSync(file)).digest('hex');
  const [wanted] = readFileSync(deploy('node-runtime.sha256'), 'utf8').split(/\s/);
  if (sum !== wanted) throw new Error(`${file} has SHA-256 ${sum}, not the committed ${wanted}`);
  const target = join(staged, `usr/lib/${NAME}/node`);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(file, target);
  chmodSync(target, 0o755);
}

async function putProgram(staged: string): Promise<void> {
  const program = join(staged, `usr/lib/${NAME}/${NAME}.js`);
  await buildProgram(program);
  // It is run by its own runtime, never as a file of its own.
  const text = readFileSync(program, 'utf8').replace(/^#!.*\n/, '//\n');
  writeFileSync(program, text);
  chmodSync(program, 0o644);
  chmodSync(`${program}.map`, 0o644);
  put(staged, `usr/bin/${NAME}`, WRAPPER, 0o755);
  for (const [shell, path] of [
    ['bash', `bash-completion/completions/${NAME}`],
    ['zsh', `zsh/vendor-completions/_${NAME}`],
  ] as const) {
    const completion = execFileSync(process.execPath, [program, 'completion', shell]);
    put(staged, `usr/share/${path}`, completion);
  }
}

function putDocs(staged: string): void {
  const doc = `usr/share/doc/${NAME}`;
  const { version } = packageJson;
  const example = readFileSync(deploy('examples/config.yaml'), 'utf8');
  put(staged, `usr/share/man/man1/${NAME}.1.gz`, zipped(manPage(version, DATE)));
  put(staged, `usr/share/man/man5/${NAME}.5.gz`, zipped(configPage(version, DATE, example)));
  copy(staged, deploy('debian/copyright'), `${doc}/copyright`);
  put(staged, `${doc}/THIRD-PARTY-NOTICES.gz`, zipped(thirdPartyNotices()));
  copy(staged, deploy('debian/lintian-overrides'), `usr/share/lintian/overrides/${NAME}`);
  const when = new Date(`${DATE}T00:00:00Z`).toUTCString().replace('GMT', '+0000');
  const changes = [
    `${NAME} (${version}) unstable; urgency=medium`,
    '',
    '  * See CHANGELOG.md.',
    '',
    ` -- ${MAINTAINER}  ${when}`,
    '',
  ].join('\n');
  put(staged, `${doc}/changelog.gz`, zipped(changes));
  put(staged, `${doc}/CHANGELOG.md.gz`, zipped(readFileSync(join(root, 'CHANGELOG.md'))));
  for (const name of readdirSync(join(root, 'docs')).filter((each) => each.endsWith('.md'))) {
    copy(staged, join(root, 'docs', name), `${doc}/${name}`);
  }
  cpSync(deploy('examples'), join(staged, doc, 'examples'), { recursive: true });
}

const unit = (name: string): string => deploy(`systemd/${name}`);

function putUnits(staged: string): void {
  for (const name of readdirSync(deploy('systemd'))) {
    if (/\.(?:service|path|timer)$/.test(name)) {
      copy(staged, unit(name), `usr/lib/systemd/system/${name}`);
    }
  }
  copy(staged, unit('mirror-look'), `usr/lib/${NAME}/mirror-look`, 0o755);
  copy(staged, unit(`${NAME}.sysusers`), `usr/lib/sysusers.d/${NAME}.conf`);
  copy(staged, unit(`${NAME}.tmpfiles`), `usr/lib/tmpfiles.d/${NAME}.conf`);
}

function putControl(staged: string, version: string): void {
  const control = {
    Package: NAME,
    Version: version,
    Architecture: 'amd64',
    Maintainer: MAINTAINER,
    'Installed-Size': String(Math.ceil(sizeOf(staged) / 1024)),
    Depends: 'libc6 (>= 2.28), libgcc-s1, libstdc++6, systemd (>= 252)',
    Recommends: 'ca-certificates',
    Section: 'admin',
    Priority: 'optional',
    Description: [
      'keeps the guests of a Proxmox VE host in their desired state',
      ' An agent that compares what is desired of the guests of its node with what',
      ' there is, and closes the difference through the API of Proxmox VE. Every step',
      ' is in a journal on disk before the next one happens.',
    ].join('\n'),
  };
  const lines = Object.entries(control).map(([field, value]) => `${field}: ${value}\n`);
  put(staged, 'DEBIAN/control', lines.join(''));
  for (const name of SCRIPTS) copy(staged, deploy(`debian/${name}`), `DEBIAN/${name}`, 0o755);
}

function sizeOf(folder: string): number {
  const entries = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return entries.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** `dpkg-deb` and `lintian` are Debian's; where they are missing, root may have them fetched. */
export function requireTool(name: string, debianPackage: string): void {
  const isThere = (process.env['PATH'] ?? '').split(':').some((dir) => existsSync(join(dir, name)));
  if (isThere) return;
  if (process.geteuid?.() !== 0)
    throw new Error(`${name} is missing: apt install ${debianPackage}`);
  const install = ['install', '-y', '--no-install-recommends', debianPackage];
  execFileSync('apt-get', install, { stdio: 'inherit' });
}

export interface PackageOptions {
  readonly outDir: string;
  readonly version?: string;
  /** `fast` is for tests: hardly compressed. */
  readonly compression?: 'fast' | 'small';
}

/** Resolves with the file's path. */
export async function makePackage({
  outDir,
  version = packageJson.version,
  compression = 'small',
}: PackageOptions): Promise<string> {
  if (process.arch !== 'x64') throw new Error(`the runtime here is for ${process.arch}, not amd64`);
  requireTool('dpkg-deb', 'dpkg');
  const staged = mkdtempSync(join(tmpdir(), 'pve-reconciler-deb-'));
  try {
    chmodSync(staged, 0o755);
    putRuntime(staged);
    await putProgram(staged);
    putDocs(staged);
    putUnits(staged);
    putControl(staged, version);
    execFileSync('chmod', ['-R', 'u=rwX,go=rX', staged]);
    mkdirSync(outDir, { recursive: true });
    const file = join(outDir, `${NAME}_${version}_amd64.deb`);
    const how = compression === 'fast' ? ['-Zgzip', '-z1'] : ['-Zxz', '-z6'];
    execFileSync('dpkg-deb', [...how, '--root-owner-group', '--build', staged, file]);
    return file;
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
}

/** Throws where lintian finds an error; what it only warns of is printed. */
export function lookOver(file: string): void {
  requireTool('lintian', 'lintian');
  const asRoot = process.geteuid?.() === 0 ? ['--allow-root'] : [];
  const args = [...asRoot, '--fail-on', 'error', '--tag-display-limit', '0', file];
  execFileSync('lintian', args, { stdio: 'inherit' });
}

/** 1.5 on systemd's scale of 0 to 10. */
const EXPOSURE_MAX_TENTHS = 15;

/** Throws where the unit may do more than it needs. */
export function lookAtUnit(): void {
  requireTool('systemd-analyze', 'systemd');
  const options = ['--offline=true', `--threshold=${EXPOSURE_MAX_TENTHS}`, '--no-pager'];
  const said = execFileSync('systemd-analyze', ['security', ...options, unit(`${NAME}.service`)], {
    encoding: 'utf8',
  });
  console.log(said.trim().split('\n').at(-1));
}

if (import.meta.main) {
  lookAtUnit();
  const file = await makePackage({ outDir: join(root, 'dist') });
  lookOver(file);
  console.log(file);
}
