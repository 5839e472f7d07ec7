/**
 * The class of each operation of TensorFlow, by what TensorFlow's own registry says of it.
 *
 * The first rule that fits decides. An operation that no rule fits computes, if the registry says that it keeps no state, and if
 * none of its arguments has a name like that of a file, an address, a program or a function. Any other one stops the generator,
 * until somebody has looked at it and written its rule. The registry alone is not enough: `ReadFile` and `PyFuncStateless` keep
 * no state.
 */

import { intIn, messagesIn, parseMessage, textIn } from '../../shared/model-packages/protobuf.js';
import { FIELDS } from '../../shared/model-packages/saved-model/fields.js';
import type { OperationClass } from '../../shared/model-packages/saved-model/operation-table.js';

/** An operation as the registry has it. */
export interface RegisteredOperation {
  name: string;
  isStateful: boolean;
  /** The names of its inputs and attributes. */
  parts: string[];
}

type Rule = readonly [OperationClass, RegExp];

const any = (...names: string[]) => new RegExp(`^(${names.join('|').replace(/\s+/g, '|')})$`);

/** These look like more than they are. Somebody has read what their kernels do with the argument that looks so. */
const LOOKED_AT: readonly Rule[] = [
  // `debug_name` and `serialized` are data, `targets` are classes, `top_paths` counts, `message` is told in an error.
  ['computes', any('Parse\\w*Example(V2)? InTopK(V2)? CTCBeamSearchDecoder PreventGradient ApproxTopK')],
  ['computes', any('DeserializeSparse DeserializeManySparse TensorSummaryV2 ParseTensor')],
  // State of theirs ends with the run, or is the algorithm's choice of random numbers.
  ['computes', any('TensorArray\\w* Stack\\w* StatelessRandomGetAlg CudnnRNN\\w*')],
  ['computes', any('Assert CheckNumerics CheckNumericsV2 GuaranteeConst DeviceIndex')],
  ['computes', any('ScatterNd ScatterNdNonAliasingAdd RandomGammaGrad RandomIndexShuffle')],
  // Strings only, though their names are of what writes.
  ['computes', any('(Audio|Histogram|Image|Scalar|Tensor|Merge)Summary(V2)?')],
];

/** Operations that reach something outside of the run. */
const OUTSIDE: readonly Rule[] = [
  ['internal', /^_/],
  ['host', any('PyFunc PyFuncStateless EagerPyFunc Abort SyncDevice')],
  ['prints', any('Print PrintV2')],
  ['restores', any('RestoreV2')],
  ['saves', any('SaveV2 MergeV2Checkpoints ShardedFilename ShardedFilespec')],
  ['vocabulary', any('InitializeTableFromTextFile InitializeTableFromTextFileV2')],
  ['files', any('ReadFile WriteFile MatchingFiles RecordInput ImmutableConst FileSystemSetConfiguration')],
  ['files', any('Save SaveSlices Restore RestoreSlice DTensorRestoreV2 DistributedSave LoadAndRemapMatrix')],
  ['files', any('GenerateVocabRemapping Skipgram DumpTensor CalibrationStatisticsSaver')],
  // A sampler that reads how often words occur.
  ['files', any('FixedUnigramCandidateSampler')],
  // `descriptor_source` may be the path of a file.
  ['files', any('DecodeProtoV2 EncodeProto')],
  ['files', /Reader(V2)?$|^Reader[A-Z]/],
  ['files', /SummaryWriter$|^Write\w*Summary$|^CreateSummary|^ImportEvent$/],
  ['network', /^Rpc|^DeleteRpc|^DataService|^RegisterDataset/],
  // `debug_urls` may be files and addresses.
  ['network', any('Debug\\w* Copy CopyHost')],
];

/** Operations that wait for other calls, or for other machines. */
const OTHERS: readonly Rule[] = [
  [
    'distributed',
    /^_?Collective|^Nccl|TPU|^Tpu|^DTensor|^CopyToMesh|^Relayout|feed(De|En)queue|^Prelinearize/,
  ],
  ['distributed', /SparseCore|Dedup|^GetMinibatch|^StoreMinibatch|^ConvertToCooTensor$/],
  ['distributed', any('AllToAll CrossReplicaSum Send Recv RemoteCall WorkerHeartbeat GlobalIterId')],
  ['distributed', any('UpdateTaskIdAndGlobalCoreArray GetTpuTaskId')],
  ['datasets', /Dataset|Iterator|MemoryCache|StatsAggregator|ThreadPoolHandle|SeedGenerator$/],
  ['datasets', any('GetOptions CompressElement UncompressElement GetElementAtIndex DummyIterationCounter')],
  ['datasets', any('ListSnapshotChunks ComputeBatchSize')],
  ['queues', /Queue|^Barrier|^(Ordered)?Map(Clear|IncompleteSize|Peek|Size|Stage|Unstage)/],
  ['queues', any('Stage StageClear StagePeek StageSize Unstage MutexV2 MutexLock ConsumeMutexLock')],
  ['queues', any('Batch Unbatch UnbatchGrad BatchFunction')],
  ['queues', /Accumulator/],
  ['keeps', /^BoostedTrees|^IsBoostedTrees|^GetSession|TensorsMap$/],
  ['keeps', any('DeleteSessionTensor CustomAggregator')],
];

/** Operations that run more, or see other memory, than the graph shows. */
const HIDDEN: readonly Rule[] = [
  ['unread', any('SymbolicGradient MlirPassthroughOp XlaCallModule XlaCustomCall XlaCustomCallV2')],
  ['compiler', /^Xla|^Risc/],
  ['compiler', any('AssignVariableXlaConcatND ReadVariableXlaSplitND')],
  // Memory that they do not clear may hold values of other callers, and what they change in place may be a constant.
  ['memory', any('Empty Inplace\\w* DeepCopy ParallelConcat TemporaryVariable DestroyTemporaryVariable')],
  [
    'calls',
    any('PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case StatelessCase'),
  ],
  ['calls', any('For MapDefun')],
];

/** Operations on the state of the model itself, and those that do not answer the same twice. */
const STATE: readonly Rule[] = [
  ['chance', any('Random\\w* Multinomial TruncatedNormal ParameterizedTruncatedNormal Rng\\w* Timestamp')],
  [
    'chance',
    any('Stateful(Random|Standard|Truncated|Uniform)\\w* NonDeterministicInts \\w*CandidateSampler'),
  ],
  ['chance', any('SampleDistortedBoundingBox(V2)? Fractional(Avg|Max)Pool')],
  ['variables', any('Variable VariableV2 VarHandleOp ReadVariableOp VariableShape VarIsInitializedOp')],
  ['variables', any('IsVariableInitialized ResourceGather ResourceGatherNd DisableCopyOnRead')],
  ['writes', /^Assign(Add|Sub)?(VariableOp)?$|^(Resource)?(Sparse)?Apply|^(Resource)?StridedSliceAssign$/],
  ['writes', /^(Resource)?Scatter(Nd)?(Add|Div|Max|Min|Mul|Sub|Update)$|CountUpTo$/],
  ['writes', any('NegTrain DestroyResourceOp')],
  ['fills', any('InitializeTable(V2)? LookupTable(Import|Insert|Remove)(V2)?')],
  ['tables', any('(Anonymous)?(Mutable)?(Dense)?HashTable(OfTensors)?(V2)?')],
  ['tables', any('LookupTable(Export|Find|Size)(V2)?')],
];

const RULES: readonly Rule[] = [...LOOKED_AT, ...OUTSIDE, ...OTHERS, ...HIDDEN, ...STATE];
/** Names of arguments that may lead somewhere. */
const LEADS =
  /file|path|directory|address|target|host|descriptor|url|protocol|server|container|shared_name|debug|message|module|program|graph|serialized|library|callback|token|func/;

/** Names that an operation on state has no business with. */
const LEADS_OUT = /file|path|address|host|descriptor|url/;

/** Returns the class of an operation; null when somebody has to look at it. */
export function classOf({ name, isStateful, parts }: RegisteredOperation): OperationClass | null {
  const [of = null] = RULES.find(([, names]) => names.test(name)) ?? [];
  if (of === null) return isStateful || parts.some((part) => LEADS.test(part)) ? null : 'computes';
  const isState = STATE.some(([each]) => each === of);
  return isState && parts.some((part) => LEADS_OUT.test(part)) ? null : of;
}

/** Returns the operations of a serialised `OpList`, sorted by name. */
export function operationsIn(list: Uint8Array): RegisteredOperation[] {
  const { OpList, OpDef } = FIELDS;
  const [Argument, Attribute] = [FIELDS['OpDef.ArgDef'], FIELDS['OpDef.AttrDef']];
  return messagesIn(parseMessage(list), OpList.op)
    .map((op) => ({
      name: textIn(op, OpDef.name),
      isStateful: intIn(op, OpDef.is_stateful) !== 0,
      parts: [
        ...messagesIn(op, OpDef.input_arg).map((each) => textIn(each, Argument.name)),
        ...messagesIn(op, OpDef.attr).map((each) => textIn(each, Attribute.name)),
      ],
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Returns the table of operations: a line for each, with its class.
 * @throws Error that names those without a class.
 */
export function tableOf(version: string, operations: readonly RegisteredOperation[]): string {
  const classes = operations.map((each) => [each.name, classOf(each)] as const);
  const open = classes.filter(([, of]) => of === null).map(([name]) => name);
  if (open.length > 0)
    throw new Error(`no rule tells the class of ${open.join(', ')}: see what they do with their arguments`);
  const head = `# The operations of TensorFlow ${version}. \`npm run generate:operations\` writes this file; do not edit it.`;
  return [head, ...classes.map((each) => each.join('\t')), ''].join('\n');
}
