/**
 * TensorFlow's saved_model.proto, as far as it is read here, by the generated code that comes with tfjs-node-gpu; that needs
 * nothing of TensorFlow itself.
 */
import { createRequire } from 'node:module';

export interface ProtoMap<V> {
  forEach(act: (value: V, key: string) => void): void;
  get(key: string): V | undefined;
}
interface AttrValue {
  hasFunc(): boolean;
  getFunc(): { getName(): string };
  getList(): { getFuncList(): { getName(): string }[] } | undefined;
}
export interface NodeDef {
  getName(): string;
  getOp(): string;
  getInputList(): string[];
  getAttrMap(): ProtoMap<AttrValue>;
}
interface ArgDef {
  getName(): string;
  /** Empty unless it stands for several tensors, as the next. */
  getNumberAttr(): string;
  getTypeListAttr(): string;
}
export interface FunctionDef {
  getSignature(): { getName(): string; getInputArgList(): ArgDef[] };
  getNodeDefList(): NodeDef[];
  getAttrMap(): ProtoMap<{ getS_asU8(): Uint8Array }>;
}
export interface GraphDef {
  getNodeList(): NodeDef[];
  getLibrary(): { getFunctionList(): FunctionDef[] } | undefined;
}
export interface TensorInfo {
  getName(): string;
  getDtype(): number;
  getTensorShape(): { getDimList(): { getSize(): number }[]; getUnknownRank(): boolean } | undefined;
}
export interface SignatureDef {
  getInputsMap(): ProtoMap<TensorInfo>;
  getOutputsMap(): ProtoMap<TensorInfo>;
}
interface SaverDef {
  getFilenameTensorName(): string;
  getSaveTensorName(): string;
  getRestoreOpName(): string;
}
export interface MetaGraphDef {
  getMetaInfoDef(): { getTagsList(): string[] } | undefined;
  getGraphDef(): GraphDef;
  getSaverDef(): SaverDef | undefined;
  getCollectionDefMap(): ProtoMap<{ getNodeList(): { getValueList(): string[] } | undefined }>;
  getSignatureDefMap(): ProtoMap<SignatureDef>;
}

export function parseSavedModel(bytes: Uint8Array): MetaGraphDef[] {
  const messages = createRequire(import.meta.url)('@tensorflow/tfjs-node-gpu/dist/proto/api_pb.js') as {
    SavedModel: { deserializeBinary(bytes: Uint8Array): { getMetaGraphsList(): MetaGraphDef[] } };
  };
  return messages.SavedModel.deserializeBinary(new Uint8Array(bytes)).getMetaGraphsList();
}
