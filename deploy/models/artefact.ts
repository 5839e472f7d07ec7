/**
 * A model version as a folder: model.json, its weights, golden.json and the model.yaml that vouches for all of them.
 *
 * `sealVersion` is called last. It hashes the files in the folder, so a manifest never names a file that was not written,
 * and a folder whose making was cut short has no manifest and is no version.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { io } from '@tensorflow/tfjs-core';
import { type LayersModel, loadLayersModel } from '@tensorflow/tfjs-layers';
import { Document, isScalar, visit } from 'yaml';

export const WEIGHTS_FILE = 'group1-shard1of1.bin';
const MANIFEST_FILE = 'model.yaml';

interface ModelFile {
  modelTopology: object;
  weightsManifest: { paths: string[]; weights: io.WeightsManifestEntry[] }[];
}

/** Makes the folder, or breaks the seal of an existing one, which is then no version until it is sealed again. */
export function openVersion(folder: string): void {
  mkdirSync(folder, { recursive: true });
  rmSync(join(folder, MANIFEST_FILE), { force: true });
}

/** Writes the model in the format of tfjs: topology and weight list in model.json, the weights in one file. */
export async function saveModel(model: LayersModel, folder: string): Promise<void> {
  const handler: io.IOHandler = {
    save: async (artifacts) => {
      const weights = joinBuffers(artifacts.weightData);
      writeFileSync(join(folder, WEIGHTS_FILE), weights);
      writeJson(join(folder, 'model.json'), {
        format: 'layers-model',
        generatedBy: artifacts.generatedBy,
        convertedBy: null,
        modelTopology: artifacts.modelTopology,
        weightsManifest: [{ paths: [WEIGHTS_FILE], weights: artifacts.weightSpecs }],
      });
      // The date is required by the interface and not kept: equal trainings give equal files.
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    },
  };
  await model.save(handler);
}

/** Reads a layers model back from its folder; the current tfjs backend will compute it. */
export async function loadModel(folder: string): Promise<LayersModel> {
  const file = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')) as ModelFile;
  const shards = file.weightsManifest.flatMap((group) => group.paths);
  const weights = Buffer.concat(shards.map((path) => readFileSync(join(folder, path))));
  return loadLayersModel({
    load: async () => ({
      modelTopology: file.modelTopology,
      weightSpecs: file.weightsManifest.flatMap((group) => group.weights),
      weightData: Uint8Array.from(weights).buffer,
    }),
  });
}

/** Writes model.yaml: `about` (all but the files) with the sha256 of each file of the version. */
export function sealVersion(folder: string, paths: string[], about: Record<string, unknown>): void {
  const files = Object.fromEntries(paths.map((path) => [path, sha256(readFileSync(join(folder, path)))]));
  const document = new Document({ ...about, files });
  document.commentBefore = ' Written by the script that made the model; do not edit.';
  visit(document, {
    Seq: (_, list) => {
      list.flow = list.items.every(isScalar);
    },
  });
  const text = document.toString({ lineWidth: 110, flowCollectionPadding: false });
  writeFileSync(join(folder, MANIFEST_FILE), text);
}

/** Writes a value as one line of JSON; the folder is made when it is missing. */
export function writeJson(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(value)}\n`);
}

/** Returns the SHA-256 of `bytes` in hexadecimal. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Returns the raw bytes in base64, as callers send them and golden vectors hold them. Every machine of Node is little-endian. */
export function toBase64(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
}

function joinBuffers(data: io.WeightData | undefined): Buffer {
  if (data === undefined) throw new Error('the model has no weights');
  const parts = Array.isArray(data) ? data : [data];
  return Buffer.concat(parts.map((part) => Buffer.from(part)));
}
