/** Serves the page at `/` and its files under `/page/`. */
import { extname } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { PAGE_FILES } from './files.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export function addPageRoutes(app: FastifyInstance): void {
  for (const [name, text] of Object.entries(PAGE_FILES)) {
    const path = name === 'index.html' ? '/' : `/page/${name}`;
    const type = TYPES[extname(name)] ?? 'text/plain; charset=utf-8';
    app.get(path, (_request, reply) => reply.type(type).send(text));
  }
}
