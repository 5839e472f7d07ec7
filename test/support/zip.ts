/** Zip files as tools make them, and as nobody should. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipEntry {
  path: string;
  content: string | Uint8Array;
  /** What the list of entries states, in the place of the truth. */
  stated?: { sizeBytes?: number; crc32?: number; method?: number };
  encrypted?: boolean;
  /** A symbolic link, as Unix tools write it. */
  link?: boolean;
  /** The size stands in a field of 64 bits. */
  zip64?: boolean;
}

const UTF8 = 0x800;

/** Returns the bytes of a zip file. */
export function zip(entries: readonly ZipEntry[]): Buffer {
  const parts: Buffer[] = [];
  const list: Buffer[] = [];
  let offset = 0;
  for (const { path, content, stated = {}, encrypted, link, zip64 } of entries) {
    const name = Buffer.from(path);
    const bytes = Buffer.from(content);
    const packed = deflateRawSync(bytes);
    const size = stated.sizeBytes ?? bytes.length;
    const head = Buffer.alloc(26);
    head.writeUInt16LE(zip64 ? 45 : 20, 0);
    head.writeUInt16LE(UTF8 | (encrypted ? 1 : 0), 2);
    head.writeUInt16LE(stated.method ?? 8, 4);
    head.writeUInt32LE(stated.crc32 ?? crc32(bytes), 10);
    head.writeUInt32LE(packed.length, 14);
    head.writeUInt32LE(zip64 ? 0xffffffff : size, 18);
    head.writeUInt16LE(name.length, 22);
    const extra = zip64 ? Buffer.alloc(12) : Buffer.alloc(0);
    if (zip64) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(8, 2);
      extra.writeBigUInt64LE(BigInt(size), 4);
    }
    head.writeUInt16LE(extra.length, 24);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), head, name, extra, packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(link ? (0o120777 << 16) >>> 0 : 0, 6);
    tail.writeUInt32LE(offset, 10);
    list.push(Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.from([20, 3]), head, tail, name, extra]));
    parts.push(local);
    offset += local.length;
  }
  const entriesList = Buffer.concat(list);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(entriesList.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, entriesList, end]);
}
