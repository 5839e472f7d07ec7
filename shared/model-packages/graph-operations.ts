/**
 * The operations that a graph model of TensorFlow.js may use: those of its converter 4.22, by what TensorFlow says of each
 * (operation-table.ts). Decision forests are missing because they read a path.
 */
import { CLASSES, mayStand, operationClass } from './saved-model/operation-table.js';

/** Operations that TensorFlow has no name for, or makes for itself. All compute. */
const OWN = setOf(
  'Conv1D DepthwiseConv2d FusedDepthwiseConv2dNative Ones Prelu Zeros _FusedConv2D _FusedMatMul',
);
/** Operations that it shares with TensorFlow. */
const SHARED =
  setOf(`Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2
  BatchToSpaceND BiasAdd Bincount BitwiseAnd BroadcastArgs BroadcastTo Cast Ceil ClipByValue Complex ComplexAbs Concat
  ConcatV2 Const Conv2D Conv2DBackpropInput Conv3D Cos Cosh CropAndResize Cumprod Cumsum DenseBincount DepthToSpace
  DepthwiseConv2dNative Dilation2D Div DivNoNan Einsum Elu EmptyTensorList EnsureShape Enter Equal Erf EuclideanNorm Exit
  Exp ExpandDims Expm1 FFT FakeQuantWithMinMaxVars Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2
  FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HashTable HashTableV2 IFFT IRFFT Identity IdentityN If Imag
  ImageProjectiveTransformV3 InitializeTable InitializeTableV2 IsFinite IsInf IsNan LRN LeakyRelu Less LessEqual LinSpace
  ListDiff Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableFind LookupTableFindV2 LookupTableImport
  LookupTableImportV2 LookupTableSize LookupTableSizeV2 LoopCond LowerBound MatMul MatrixBandPart Max MaxPool MaxPool3D
  MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad Mod Mul Multinomial Neg NextIteration NoOp NonMaxSuppressionV2
  NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder
  PlaceholderWithDefault Pow Prod RFFT RaggedGather RaggedRange RaggedTensorToTensor RandomStandardNormal RandomUniform
  RandomUniformInt Range Rank Real RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse
  ReverseV2 Round Rsqrt ScatterNd Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax
  Softplus SpaceToBatchND SparseFillEmptyRows SparseReshape SparseSegmentMean SparseSegmentSum SparseToDense Split SplitV
  Sqrt Square SquaredDifference Squeeze StatelessIf StatelessWhile StaticRegexReplace StopGradient StridedSlice StringNGrams
  StringSplit StringToHashBucketFast Sub Sum Switch Tan Tanh TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
  TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
  TensorListConcat TensorListConcatV2 TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
  TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter TensorListScatterV2
  TensorListSetItem TensorListSplit TensorListStack TensorScatterUpdate Tile TopKV2 Transpose TruncatedNormal Unique
  UniqueV2 Unpack UpperBound Where While ZerosLike`);
/** Operations that a graph has only to be waited for, which TensorFlow.js never does. */
const IDLE = setOf('Assert');
/** Operations that TensorFlow.js computes asynchronously only. */
export const ASYNC_OPS =
  setOf(`Enter Exit HashTable HashTableV2 If ListDiff LookupTableFind LookupTableFindV2 LookupTableSize
  LookupTableSizeV2 LoopCond Merge NextIteration NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
  NonMaxSuppressionV5 StatelessIf StatelessWhile Switch Where While`);

const OF_TENSORFLOW = 'serve the SavedModel itself, which TensorFlow computes';

/**
 * Returns why a graph model may not have an operation, as a phrase about it; null when it may.
 * @param stateful allows random numbers.
 */
export function graphOperationFault(op: string, stateful: boolean): string | null {
  if (OWN.has(op) || IDLE.has(op)) return null;
  const of = operationClass(op);
  const { what } = CLASSES[of];
  if (SHARED.has(op)) {
    if (of === 'computes' || of === 'calls' || (of === 'chance' && stateful)) return null;
    // A call that fails gives the tensors of a table back with its own.
    if (of !== 'chance') return `${what}: ${OF_TENSORFLOW}`;
    return `${what}, so equal inputs get unlike predictions: convert the model as it predicts, or say \`stateful: allow\` in model.yaml`;
  }
  if (of === 'unknown') return 'unknown to TensorFlow.js and to TensorFlow';
  return mayStand(of, 'signature') ? `not computed by TensorFlow.js: ${OF_TENSORFLOW}` : what;
}

function setOf(list: string): ReadonlySet<string> {
  return new Set(list.split(/\s+/));
}
