/**
 * Why a batch is refused here although another worker may compute it: its jobs go back to the queue.
 */
import { versionKey } from '../../../shared/contract/models/model-ref.js';

/** The batch had better run on another worker. */
export class RunElsewhere extends Error {}

/** No child of the backend comes up. */
export class StandsStill extends RunElsewhere {
  constructor() {
    super('What computes here dies again and again.');
  }
}

/** No child has the version, nor will have. */
export class NotLoaded extends RunElsewhere {
  constructor(model: string, version: number) {
    super(`${versionKey(model, version)} is not loaded here.`);
  }
}
