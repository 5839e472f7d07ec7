/**
 * Changes the program of a SavedModel, as somebody with TensorFlow at hand would, by the messages that tfjs-node-gpu brings.
 */
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ROOT } from './stack.js';

/** The part of protoc's output that is used here; protoc generates no types. */
interface MessageMap<V> {
  get(key: string): V;
  set(key: string, value: V): void;
  del(key: string): void;
}
interface NameAttrList {
  getName(): string;
  setName(name: string): NameAttrList;
  getAttrMap(): MessageMap<AttrValue>;
}
interface AttrValue {
  getFunc(): NameAttrList;
  setFunc(named: NameAttrList): AttrValue;
  setType(type: number): AttrValue;
}
export interface NodeDef {
  getName(): string;
  setName(name: string): NodeDef;
  getOp(): string;
  setOp(op: string): NodeDef;
  getInputList(): string[];
  setInputList(inputs: string[]): NodeDef;
  addInput(input: string): string;
  getAttrMap(): MessageMap<AttrValue>;
}
export interface FunctionDef {
  getSignature(): OpDef;
  setSignature(signature: OpDef): FunctionDef;
  getAttrMap(): MessageMap<AttrValue>;
  getNodeDefList(): NodeDef[];
  setNodeDefList(nodes: NodeDef[]): FunctionDef;
  addNodeDef(node: NodeDef): NodeDef;
}
interface OpDef {
  getName(): string;
  setName(name: string): OpDef;
  addAttr(): unknown;
}
interface TensorInfo {
  setDtype(type: number): unknown;
  setName(place: string): unknown;
  clearTensorShape(): unknown;
}
interface SignatureDef {
  getInputsMap(): MessageMap<TensorInfo>;
  getOutputsMap(): MessageMap<TensorInfo>;
}
interface CollectionDef {
  setNodeList(list: { setValueList(values: string[]): unknown }): CollectionDef;
}
interface AssetFileDef {
  setFilename(name: string): unknown;
  getTensorInfo(): TensorInfo;
}
interface FunctionDefLibrary {
  getFunctionList(): FunctionDef[];
  addFunction(each: FunctionDef): FunctionDef;
}
export interface MetaGraphDef {
  clone(): MetaGraphDef;
  serializeBinary(): Uint8Array;
  getMetaInfoDef(): { setTagsList(tags: string[]): unknown };
  getGraphDef(): {
    getNodeList(): NodeDef[];
    addNode(node: NodeDef): NodeDef;
    getLibrary(): FunctionDefLibrary;
  };
  getSignatureDefMap(): MessageMap<SignatureDef>;
  getCollectionDefMap(): MessageMap<CollectionDef>;
  addAssetFileDef(): AssetFileDef;
  getAssetFileDefList(): AssetFileDef[];
  setAssetFileDefList(assets: AssetFileDef[]): unknown;
}
export interface SavedModel {
  getMetaGraphsList(): MetaGraphDef[];
  setMetaGraphsList(graphs: MetaGraphDef[]): SavedModel;
  serializeBinary(): Uint8Array;
}

const proto = createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu/dist/proto/api_pb.js') as {
  SavedModel: { deserializeBinary(bytes: Uint8Array): SavedModel };
  NodeDef: new () => NodeDef;
  AttrValue: new () => AttrValue;
  NameAttrList: new () => NameAttrList;
  FunctionDef: new () => FunctionDef;
  OpDef: new () => OpDef;
  CollectionDef: (new () => CollectionDef) & {
    NodeList: new () => { setValueList(values: string[]): unknown };
  };
};

export type Edit = (graph: MetaGraphDef, model: SavedModel) => unknown;

/** Edits in place a SavedModel that has one graph. */
export function editSavedModel(folder: string, edit: Edit): void {
  const path = join(folder, 'saved_model.pb');
  const model = proto.SavedModel.deserializeBinary(new Uint8Array(readFileSync(path)));
  const [graph] = model.getMetaGraphsList();
  if (!graph) throw new Error('there is no graph to edit');
  edit(graph, model);
  writeFileSync(path, model.serializeBinary());
}

/** Returns the folder of an edited copy of a fixture, within `parent`. */
export function editedCopy(parent: string, fixture: string, edit: Edit): string {
  const folder = mkdtempSync(join(parent, 'model-'));
  cpSync(join(ROOT, 'test/fixtures', fixture), folder, { recursive: true });
  editSavedModel(folder, edit);
  return folder;
}

export function library(graph: MetaGraphDef): FunctionDefLibrary {
  return graph.getGraphDef().getLibrary();
}

export function node(name: string, op: string, ...inputs: string[]): NodeDef {
  return new proto.NodeDef().setName(name).setOp(op).setInputList(inputs);
}

/** Gives a node an attribute that is a type, by its number. */
export function withType(made: NodeDef, name: string, type: number): NodeDef {
  made.getAttrMap().set(name, new proto.AttrValue().setType(type));
  return made;
}

/** Calls a function, which may call another that `handed` names. */
export function call(name: string, called: string, inputs: string[], handed?: string): NodeDef {
  const made = node(name, 'StatefulPartitionedCall', ...inputs);
  const named = naming(called);
  if (handed) named.getFunc().getAttrMap().set('F', naming(handed));
  made.getAttrMap().set('f', named);
  return made;
}

function naming(called: string): AttrValue {
  return new proto.AttrValue().setFunc(new proto.NameAttrList().setName(called));
}

export function functionOf(name: string, ...nodes: NodeDef[]): FunctionDef {
  return new proto.FunctionDef().setSignature(new proto.OpDef().setName(name)).setNodeDefList(nodes);
}

/** Says that the function may be called in the place of others. */
export function setReplaces(each: FunctionDef): void {
  each.getAttrMap().set('api_implements', new proto.AttrValue());
}

export function collection(...names: string[]): CollectionDef {
  const list = new proto.CollectionDef.NodeList();
  list.setValueList(names);
  return new proto.CollectionDef().setNodeList(list);
}

export function findNode(graph: MetaGraphDef, name: string): NodeDef {
  return found(graph.getGraphDef().getNodeList(), (each) => each.getName() === name);
}

/** The one function with such an operation. */
export function findFunction(graph: MetaGraphDef, op: string): FunctionDef {
  const all = graph.getGraphDef().getLibrary().getFunctionList();
  return found(all, (each) => each.getNodeDefList().some((within) => within.getOp() === op));
}

function found<T>(list: readonly T[], is: (each: T) => boolean): T {
  const each = list.find(is);
  if (!each) throw new Error('the fixture is not what it was');
  return each;
}

/** Gives an entry of a map another key. */
export function rename<V>(map: MessageMap<V>, from: string, to: string): void {
  map.set(to, map.get(from));
  map.del(from);
}
