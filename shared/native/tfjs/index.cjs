/**
 * What tfjs-node-gpu takes from `@tensorflow/tfjs`. The package of that name adds backends for browsers and each part bundled
 * six times over: 270 MB that Sluice never reads.
 */
module.exports = {
  ...require('@tensorflow/tfjs-core'),
  ...require('@tensorflow/tfjs-layers'),
  ...require('@tensorflow/tfjs-converter'),
};
