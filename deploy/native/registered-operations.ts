/**
 * The operations that the installed TensorFlow has registered. The binding of tfjs-node-gpu does not tell them, so a program of a
 * few lines over TensorFlow's C API does. Source: `TF_GetAllOpList` in tensorflow/c/c_api.h
 *
 * The program opens the library while it runs, because a linker reads all 800 MB of it and takes six seconds.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nativeHome } from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';
import { operationsIn, type RegisteredOperation } from './operation-rules.js';

const PROGRAM = `
#include <dlfcn.h>
#include <stdio.h>
#include "tensorflow/c/c_api.h"
int main(int count, char** args) {
  void* library = dlopen(args[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\\n", dlerror());
  auto allOperations = (decltype(&TF_GetAllOpList)) dlsym(library, "TF_GetAllOpList");
  if (!allOperations) return fprintf(stderr, "%s\\n", dlerror());
  TF_Buffer* list = allOperations();
  FILE* file = fopen(args[2], "wb");
  return fwrite(list->data, 1, list->length, file) != list->length || fclose(file) != 0;
}
`;

/** Resolves with the operations of the library in the cache, sorted by name; rejects without a library or a compiler. */
export async function registeredOperations(
  cacheDir: string,
  signal?: AbortSignal,
): Promise<RegisteredOperation[]> {
  const { include, libraries } = nativeHome(cacheDir, 'cpu');
  const folder = mkdtempSync(join(tmpdir(), 'sluice-operations-'));
  const [source, program, list] = ['list.cc', 'list', 'list.pb'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  try {
    writeFileSync(source, PROGRAM);
    await runCommand('g++', ['-o', program, source, '-I', include, '-ldl'], { signal });
    await runCommand(program, [join(libraries, 'libtensorflow_cc.so.2'), list], { signal });
    return operationsIn(readFileSync(list));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
