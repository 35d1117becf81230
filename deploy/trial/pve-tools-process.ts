/** Keeps the stand-ins for pveum and pvesh: what tries the package waits for programs and cannot answer them. */
import { FakePveTools } from '../../test/agent/setup/fake-pve-tools.ts';

const [folder = '', secret = ''] = process.argv.slice(2);
const tools = await FakePveTools.install(folder, secret);
console.log('ready');
// It ends with the process that started it.
process.stdin.resume().once('end', () => void tools.stop());
