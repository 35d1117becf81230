/** What the system refuses is an error of ours, whatever was asked. */
import { tmpdir } from 'node:os';
import { basename, dirname } from 'node:path';
import { expect, test } from 'vitest';
import { NodeDisk } from '../../src/journal/node-disk.ts';

test('a folder in a file’s place is opened for reading, and cannot be read', async () => {
  const file = await new NodeDisk(dirname(tmpdir())).openRead(basename(tmpdir()));
  await expect(file.read(Buffer.alloc(1), 0)).rejects.toMatchObject({ code: 'EISDIR' });
  await file.close();
});

test('a disk that is full takes nothing, and what cannot be synced is not', async () => {
  const file = await new NodeDisk('/dev').openAppend('full');
  await expect(file.append(Buffer.from('line\n'))).rejects.toMatchObject({ code: 'ENOSPC' });
  await expect(file.sync()).rejects.toMatchObject({ code: 'EINVAL' });
  await expect(file.truncate(0)).rejects.toMatchObject({ code: 'EINVAL' });
  await file.close();
});
