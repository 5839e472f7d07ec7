/**
 * The TensorFlow operations that a SavedModel or a graph model of TensorFlow.js may use. None touches files, networks, other
 * processes, Python or the terminal, and each is an ordinary part of models that Keras and TensorFlow export. Adding one is a
 * decision: first look at what the operation does with its arguments.
 */
const ARRAYS = `BatchToSpaceND BroadcastArgs BroadcastTo Cast Concat ConcatV2 Const DepthToSpace Diag DiagPart ExpandDims Fill
  Gather GatherNd GatherV2 Identity IdentityN InvertPermutation LinSpace MatrixBandPart MatrixDiag MatrixDiagV3 MirrorPad OneHot
  OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault PreventGradient Range Rank Reshape ResourceGather ReverseSequence
  ReverseV2 ScatterNd Shape ShapeN Size Slice Snapshot SpaceToBatchND SpaceToDepth SparseToDense Split SplitV Squeeze StopGradient
  StridedSlice TensorScatterUpdate Tile Transpose Unique UniqueV2 Unpack Where ZerosLike EnsureShape`;
const MATHS = `Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh BatchMatMul BatchMatMulV2
  BatchMatMulV3 BiasAdd Bincount BitwiseAnd BitwiseOr BitwiseXor Bucketize Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross
  Cumprod Cumsum DenseBincount Digamma Div DivNoNan Einsum Equal Erf Erfc Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual
  Igamma Imag Inv InTopKV2 IsFinite IsInf IsNan L2Loss Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max
  Maximum Mean Min Minimum Mod Mul MulNoNan Multinomial Neg NextAfter NotEqual Pow Prod Real RealDiv Reciprocal Rint Round Rsqrt
  SegmentSum Select SelectV2 Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum Tan Tanh TopK TopKV2 TruncateDiv
  UnsortedSegmentSum Xdivy Xlogy`;
const NETWORKS = `AvgPool AvgPool3D Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 CropAndResize CudnnRNNV3
  DepthwiseConv2dNative Dilation2D Elu ExtractImagePatches FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 _FusedConv2D
  _FusedMatMul LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax NonMaxSuppressionV3 NonMaxSuppressionV4
  NonMaxSuppressionV5 CombinedNonMaxSuppression Relu Relu6 ResizeBilinear ResizeNearestNeighbor Selu Softmax Softplus Softsign
  AdjustContrastv2 HSVToRGB RGBToHSV`;
/** `If` and `While` call functions; the check covers the operations of those functions too. */
const FLOW = `Assert If NoOp PartitionedCall StatefulPartitionedCall StatelessIf StatelessWhile While TensorListConcatV2
  TensorListFromTensor TensorListGetItem TensorListLength TensorListReserve TensorListSetItem TensorListStack EmptyTensorList
  TensorListPushBack TensorListPopBack`;
const VARIABLES = 'DisableCopyOnRead ReadVariableOp VarHandleOp VarIsInitializedOp';

export const COMPUTING_OPS = setOf(ARRAYS, MATHS, NETWORKS, FLOW, VARIABLES);
export const ASSIGNING_OPS = setOf('AssignVariableOp');
/** RestoreV2 reads a checkpoint at the place in the version's folder that TensorFlow gives it. */
export const RESTORING_OPS = setOf('AssignVariableOp RestoreV2');
/** Every export holds operations that save it again. They never run. */
export const SAVING_OPS = setOf('MergeV2Checkpoints SaveV2 ShardedFilename StaticRegexFullMatch StringJoin');
/** Exports of Keras 2 hold operations of training: random numbers and gradients. They never run, and they touch nothing outside. */
export const TRAINING_OPS =
  setOf(`AssignAddVariableOp AssignSubVariableOp AvgPoolGrad BiasAddGrad Bitcast BroadcastGradientArgs ConcatOffset
  Conv2DBackpropFilter Conv3DBackpropFilterV2 CudnnRNNBackpropV3 DepthwiseConv2dNativeBackpropFilter
  DepthwiseConv2dNativeBackpropInput EluGrad FusedBatchNormGradV3 ImageProjectiveTransformV3 LeakyReluGrad MaxPoolGrad
  OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone RandomStandardNormal RandomUniform RandomUniformInt
  ReciprocalGrad Relu6Grad ReluGrad ResizeBilinearGrad ResizeNearestNeighborGrad RngReadAndSkip RsqrtGrad SeluGrad
  SigmoidGrad SoftplusGrad SoftsignGrad SparseSoftmaxCrossEntropyWithLogits SoftmaxCrossEntropyWithLogits SqrtGrad
  StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormalV2
  StatelessRandomUniformFullIntV2 StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormalV2
  StridedSliceGrad TanhGrad TensorListElementShape TruncatedNormal`);

/** Operations that only tfjs has. Decision forests are missing because they read a path. */
const OF_TFJS = `Conv1D DepthwiseConv2d EuclideanNorm FakeQuantWithMinMaxVars FFT FusedDepthwiseConv2dNative IFFT
  ImageProjectiveTransformV3 IRFFT ListDiff LowerBound NonMaxSuppressionV2 Ones Prelu RFFT Reverse UpperBound Zeros`;
/** Control flow as TensorFlow 1 writes it, node by node, and the arrays that its loops fill. */
const FLOW_OF_TFJS = `Enter Exit LoopCond Merge NextIteration Switch TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
  TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
  TensorListConcat TensorListGather TensorListResize TensorListScatter TensorListScatterV2 TensorListSplit`;
export const GRAPH_OPS = setOf(ARRAYS, MATHS, NETWORKS, FLOW, OF_TFJS, FLOW_OF_TFJS);
/** The operations of GRAPH_OPS that tfjs computes asynchronously only. */
export const ASYNC_OPS =
  setOf(`Enter Exit If ListDiff LoopCond Merge NextIteration NonMaxSuppressionV2 NonMaxSuppressionV3
  NonMaxSuppressionV4 NonMaxSuppressionV5 StatelessIf StatelessWhile Switch Where While`);

function setOf(...lists: string[]): ReadonlySet<string> {
  return new Set(lists.join(' ').split(/\s+/));
}
