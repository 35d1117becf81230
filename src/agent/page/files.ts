/**
 * The page's files, as they are served. Read from beside this file; in the bundle deploy/build.ts
 * puts their text in place of this module's.
 */
import { readFileSync } from 'node:fs';

export const PAGE_FILES: Readonly<Record<string, string>> = Object.fromEntries(
  [
    'index.html',
    'page.css',
    'icon.svg',
    'app.js',
    'connection.js',
    'detail.js',
    'dom.js',
    'guests.js',
    'ops.js',
    'plan.js',
    'time.js',
  ].map((name) => [name, readFileSync(new URL(name, import.meta.url), 'utf8')]),
);
