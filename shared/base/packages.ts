/**
 * Loading packages of CommonJS by `require`. `import` reads each of their files once more for the names that it exports, which
 * costs half of their loading: 0.1 s for Redis' client and BullMQ, and half of a child's start for tfjs.
 */
import { createRequire } from 'node:module';

export const requirePackage = createRequire(import.meta.url);
