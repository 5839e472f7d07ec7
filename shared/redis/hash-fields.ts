/** The fields of a hash as a script takes them. */

/** Returns an entry for each field of `record` that has a value; fields that are undefined are left out. */
export function hashFields<Value extends string | number>(
  record: Readonly<Record<string, Value | undefined>>,
): { field: string; value: Value }[] {
  return Object.entries(record).flatMap(([field, value]) => (value === undefined ? [] : { field, value }));
}
