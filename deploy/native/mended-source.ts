/**
 * Mends a fault in the source of tfjs-node-gpu 4.22's binding: it frees the strings of a tensor when a handle to it goes. Others
 * may hold the same tensor, such as a constant of a graph, which then has empty strings. Here a tensor that the binding made frees its
 * strings with its last holder, and every other tensor is TensorFlow's own business (decisions.md, DPL-45).
 */
interface Mend {
  from: string;
  to: string;
}

/** Frees the strings of a tensor that the binding made. */
const FREE = `static void FreeStrings(void *data, size_t len, void *arg) {
  TF_TString *strings = static_cast<TF_TString *>(data);
  for (size_t i = 0; i < len / sizeof(TF_TString); i++) TF_TString_Dealloc(strings + i);
  free(data);
}

`;

const MENDS: readonly Mend[] = [
  {
    from: '// Creates a TFE_TensorHandle from a JS array of Uint8Array values.\n',
    to: `${FREE}// Creates a TFE_TensorHandle from a JS array of Uint8Array values.\n`,
  },
  {
    from: `  TF_AutoTensor tensor(TF_AllocateTensor(TF_DataType::TF_STRING, shape,
                                         shape_length,
                                         array_length * sizeof(TF_TString)));
`,
    to: `  const size_t length = array_length * sizeof(TF_TString);
  // Zeros are empty strings.
  void *strings = aligned_alloc(64, (length / 64 + 1) * 64);
  if (strings == nullptr) {
    NAPI_THROW_ERROR(env, "Out of memory for the strings of a tensor");
    return nullptr;
  }
  memset(strings, 0, length);
  TF_AutoTensor tensor(TF_NewTensor(TF_DataType::TF_STRING, shape, shape_length,
                                    strings, length, FreeStrings, nullptr));
`,
  },
  {
    from: `  TFE_TensorHandle *tensor_handle = tensor_entry->second;
  if (TFE_TensorHandleDataType(tensor_handle) == TF_STRING) {
    TF_AutoStatus tf_status;
    TF_AutoTensor tensor(
        TFE_TensorHandleResolve(tensor_handle, tf_status.status));
    ENSURE_TF_OK(env, tf_status);
    size_t num_elements = GetTensorNumElements(tensor.tensor);
    TF_TString *data = reinterpret_cast<TF_TString *>(TF_TensorData(tensor.tensor));

    // Deallocate each string
    for (size_t i = 0; i < num_elements; i++) {
      TF_TString_Dealloc(data + i);
    }
  };
  TFE_DeleteTensorHandle`,
    to: '  TFE_DeleteTensorHandle',
  },
];

/**
 * Returns the source of `tfjs_backend.cc` without the fault.
 * @throws Error for another source than that of 4.22, because nobody has looked whether it has the fault
 */
export function mendedSource(source: string): string {
  return MENDS.reduce((text, { from, to }) => {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error('The source of the binding is not that of tfjs-node-gpu 4.22.0.');
    return parts.join(to);
  }, source);
}
