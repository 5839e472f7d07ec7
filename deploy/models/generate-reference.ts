/** `npm run generate:reference`: writes the reference of model.yaml into api/reference. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { editorSchema, referencePage } from './manifest-reference.js';

const FOLDER = resolve('api/reference');
writeFileSync(`${FOLDER}/model-yaml.md`, referencePage());
writeFileSync(`${FOLDER}/model.schema.json`, `${JSON.stringify(editorSchema(), null, 2)}\n`);
