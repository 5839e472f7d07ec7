/**
 * The wheels that a flavour is made of, and the files of them that are kept.
 *
 * pip fetches them with the proxies, mirrors and credentials that it is configured with, so no host is named here. Each
 * wheel is pinned by its sha256, which pip checks, so a mirror cannot give us another file.
 */
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Flavour, TENSORFLOW_VERSION } from '../../shared/native/tensorflow-library.js';
import { runCommand } from '../run-command.js';

export interface Wheel {
  /** As in a pip requirement, `name==version`. */
  name: string;
  sha256: string;
}

/** The wheel of Python 3.11 serves every Python, because only its C library is used; one file means one hash. */
const PYTHON = '3.11';
/** Platform tags of the wheels. pip before 2023 matches them literally, so each one is named. */
const PLATFORMS = ['27', '25', '17', '12'].map((glibc) => `manylinux_2_${glibc}_x86_64`);

const CPU: readonly Wheel[] = [
  {
    name: `tensorflow-cpu==${TENSORFLOW_VERSION}`,
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
  },
];

/** The CUDA 12 libraries are those that `tensorflow[and-cuda]` of this version resolves to. */
const CUDA: readonly Wheel[] = [
  {
    name: `tensorflow==${TENSORFLOW_VERSION}`,
    sha256: '9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124',
  },
  {
    name: 'nvidia-cublas-cu12==12.9.3.13',
    sha256: 'd7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72',
  },
  {
    name: 'nvidia-cuda-cupti-cu12==12.9.79',
    sha256: '096bcf334f13e1984ba36685ad4c1d6347db214de03dbb6eebb237b41d9d934f',
  },
  {
    name: 'nvidia-cuda-nvcc-cu12==12.9.86',
    sha256: '5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0',
  },
  {
    name: 'nvidia-cuda-nvrtc-cu12==12.9.86',
    sha256: '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4',
  },
  {
    name: 'nvidia-cuda-runtime-cu12==12.9.79',
    sha256: '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3',
  },
  {
    name: 'nvidia-cudnn-cu12==9.28.0.42',
    sha256: '9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375',
  },
  {
    name: 'nvidia-cufft-cu12==11.4.1.4',
    sha256: 'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28',
  },
  {
    name: 'nvidia-curand-cu12==10.3.10.19',
    sha256: '49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e',
  },
  {
    name: 'nvidia-cusolver-cu12==11.7.5.82',
    sha256: '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88',
  },
  {
    name: 'nvidia-cusparse-cu12==12.5.10.65',
    sha256: '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78',
  },
  {
    name: 'nvidia-nccl-cu12==2.32.3',
    sha256: 'bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c',
  },
  {
    name: 'nvidia-nvjitlink-cu12==12.9.86',
    sha256: 'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9',
  },
];

/** Returns the wheels of a flavour of TensorFlow. */
export function wheelsOf(flavour: Flavour): readonly Wheel[] {
  return flavour === 'cpu' ? CPU : CUDA;
}

/** The download in MB and the room needed on disk while installing in GB, told beforehand, so that nobody is surprised. */
export const SIZES: Readonly<Record<Flavour, { downloadMb: number; diskGb: number }>> = {
  cpu: { downloadMb: 274, diskGb: 1.2 },
  cuda: { downloadMb: 3_500, diskGb: 10 },
};

/**
 * The files that are kept: the libraries, the few of 13,000 headers that the binding includes, and the parts of the CUDA
 * compiler that XLA calls (ptxas, libdevice).
 */
const KEPT = [
  'tensorflow/libtensorflow(_cc|_framework)\\.so\\.2',
  'tensorflow/include/tensorflow/(c|core/platform)/.*\\.h',
  'tensorflow/include/tsl/platform/.*\\.h',
  'tensorflow/include/xla/tsl/c/.*\\.h',
  'nvidia/[^/]+/lib/[^/]+\\.so(\\.[0-9.]+)?',
  'nvidia/cuda_nvcc/bin/ptxas',
  'nvidia/cuda_nvcc/nvvm/libdevice/.*',
].join('|');

/** Python unpacks, because it is here for pip anyway, and unzip(1) may be missing. */
const UNPACK = `
import re, sys, zipfile
wheel, target, kept = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        if re.fullmatch(kept, entry.filename):
            archive.extract(entry, target)
`;

/** Fetches wheels into `folder` and resolves to their paths; rejects with pip's own words. */
export async function fetchWheels(
  wheels: readonly Wheel[],
  folder: string,
  signal: AbortSignal,
): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const requirements = join(folder, 'requirements.txt');
  writeFileSync(requirements, wheels.map(({ name, sha256 }) => `${name} --hash=sha256:${sha256}\n`).join(''));
  // A cache of pip would keep a second copy of the files that this installer keeps already.
  const options = ['--no-deps', '--no-cache-dir', '--require-hashes', '--only-binary=:all:'];
  const target = PLATFORMS.flatMap((platform) => ['--platform', platform]);
  await runCommand(
    'python3',
    ['-m', 'pip', 'download', ...options, '--python-version', PYTHON, ...target]
      .concat(['--dest', folder, '--requirement', requirements])
      .concat(['--disable-pip-version-check', '--progress-bar', process.stdout.isTTY ? 'on' : 'off']),
    { signal, show: true },
  );
  return readdirSync(folder)
    .filter((name) => name.endsWith('.whl'))
    .map((name) => join(folder, name));
}

/** Unpacks the files that are kept of a wheel into `target`. */
export async function unpackWheel(wheel: string, target: string, signal: AbortSignal): Promise<void> {
  await runCommand('python3', ['-c', UNPACK, wheel, target, KEPT], { signal });
  const ptxas = join(target, 'nvidia', 'cuda_nvcc', 'bin', 'ptxas');
  // zipfile drops the executable bit.
  if (statSync(ptxas, { throwIfNoEntry: false })) chmodSync(ptxas, 0o755);
}
