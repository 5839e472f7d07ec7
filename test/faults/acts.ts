/**
 * How each kind of fault is made, and healed.
 */
import pLimit from 'p-limit';
import type { Fleet, Member } from './fleet.js';
import type { Room } from './room.js';
import type { Fault, FaultKind } from './schedule.js';

export interface Scene {
  room: Room;
  fleet: Fleet;
  receivers: { areRefusing: boolean };
}

interface Act {
  make(scene: Scene, member: Member): unknown;
  heal(scene: Scene, member: Member): unknown;
}

const SLOW_MS = 100;
const up = (_: Scene, member: Member) => member.up();
const nothing = () => {};
/** A Redis that reads a large file is up later than the next fault may come; that one waits. */
const redisInTurn = pLimit(1);
const healNetwork = (_: Scene, { way }: Member) => way.heal();

const ACTS: Record<FaultKind, Act> = {
  killed: { make: (_, member) => member.kill(false), heal: up },
  'host killed': { make: (_, member) => member.kill(true), heal: up },
  'told to stop': { make: (_, member) => member.stop(), heal: up },
  frozen: {
    make: (_, member) => member.signal('SIGSTOP'),
    heal: (_, member) => member.signal('SIGCONT'),
  },
  'child killed': { make: (_, member) => member.signalChildren('SIGKILL'), heal: nothing },
  'child frozen': {
    make: (_, member) => member.signalChildren('SIGSTOP'),
    heal: (_, member) => member.signalChildren('SIGCONT'),
  },
  'Redis killed': {
    make: ({ room }) => redisInTurn(() => room.redis.kill()),
    heal: ({ room }) => redisInTurn(() => room.redis.restart()),
  },
  'Redis frozen': { make: ({ room }) => room.redis.freeze(), heal: ({ room }) => room.redis.thaw() },
  'network silent': { make: (_, { way }) => way.silence(), heal: healNetwork },
  'network cut': { make: (_, { way }) => way.cut(), heal: nothing },
  'network slow': { make: (_, { way }) => way.slow(SLOW_MS), heal: healNetwork },
  refusing: {
    make: ({ receivers }) => {
      receivers.areRefusing = true;
    },
    heal: ({ receivers }) => {
      receivers.areRefusing = false;
    },
  },
};

/** Targets that are no process have no member; their acts do not ask for one. */
const memberOf = ({ fleet }: Scene, { target }: Fault) => fleet.members.get(target) as Member;

export async function make(scene: Scene, fault: Fault): Promise<void> {
  await ACTS[fault.kind].make(scene, memberOf(scene, fault));
}

export async function heal(scene: Scene, fault: Fault): Promise<void> {
  await ACTS[fault.kind].heal(scene, memberOf(scene, fault));
}
