/**
 * A TCP proxy: a network that can be cut, made silent, or made slow.
 *
 *   open      bytes pass
 *   silent    nothing passes and nobody is told, as behind a dead switch; what was sent arrives after `heal`
 *   mute      requests pass, answers do not (they too arrive after `heal`)
 *
 * `cut` resets every open connection and takes new ones. `loseAnswer` resets one connection when its request has been
 * carried out and the answer is on the way. `lead` has new connections go elsewhere, and leaves the open ones alone.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export interface TcpProxy {
  port: number;
  silence(): void;
  /** Holds back answers only: requests are carried out, and nobody hears of it. */
  mute(): void;
  /** Holds back answers from the next request that holds this text on; that request still passes. */
  muteAt(text: string): void;
  /**
   * Lets the next request that holds this text pass, and resets its connection instead of passing the answer on; resolves
   * then. A request that is sent again on another connection passes. `passing` bytes of the answer may get through before.
   */
  loseAnswer(text: string, passing?: number): Promise<void>;
  /**
   * Swallows the next request that holds this text, and whatever follows on its connection in either direction, for ever.
   * The connection stays open, and new ones pass. Resolves when it has begun.
   */
  swallow(text: string): Promise<void>;
  /** Delays every chunk by so much, in both directions. */
  slow(delayMs: number): void;
  cut(): void;
  /** Has new connections go to another port, as a virtual address does after a failover; open ones stay where they are. */
  lead(port: number): void;
  /** Lets everything pass again, at full speed. */
  heal(): void;
  close(): Promise<void>;
}

interface Lane {
  from: Socket;
  to: Socket;
  isAnswer: boolean;
  connection: Connection;
}

/** Both directions of one connection. */
interface Connection {
  /** True while the next answer of this connection shall be lost. */
  loss: Loss | null;
  isSwallowed: boolean;
  reset(): void;
}

interface Loss {
  text: string;
  passing: number;
  done(): void;
}

export async function openProxy(firstPort: number): Promise<TcpProxy> {
  let targetPort = firstPort;
  const lanes = new Set<Lane>();
  const isHeld = { asked: false, answered: false };
  let delayMs = 0;
  let trigger: string | null = null;
  let loss: Loss | null = null;
  let pit: { text: string; done(): void } | null = null;

  const obey = ({ from, isAnswer }: Lane) => {
    if (isAnswer ? isHeld.answered : isHeld.asked) from.pause();
    else from.resume();
  };
  const hold = (asked: boolean, answered: boolean) => {
    isHeld.asked = asked;
    isHeld.answered = answered;
    for (const lane of lanes) obey(lane);
  };

  function arm(connection: Connection, request: Buffer): void {
    if (!loss || !request.includes(loss.text)) return;
    connection.loss = loss;
    loss = null;
  }

  function lose({ to, connection }: Lane, { passing, done }: Loss, answer: Buffer): void {
    connection.loss = null;
    // A reset would overtake the bytes before it.
    if (passing > 0) to.end(answer.subarray(0, passing));
    else connection.reset();
    done();
  }

  function open(lane: Lane): void {
    const { from, to, isAnswer, connection } = lane;
    lanes.add(lane);
    // Chunks wait for the ones before them, so that bytes keep their order when the network gets faster again.
    let last = Promise.resolve();
    const later = (act: () => void) => {
      const dueMs = performance.now() + delayMs;
      last = last.then(async () => {
        const leftMs = dueMs - performance.now();
        if (leftMs > 0) await pause(leftMs);
        act();
      });
    };
    from.on('data', (chunk) => {
      if (!isAnswer && trigger && chunk.includes(trigger)) hold(false, true);
      if (!isAnswer) arm(connection, chunk);
      if (!isAnswer && pit && chunk.includes(pit.text)) {
        connection.isSwallowed = true;
        pit.done();
        pit = null;
      }
      if (connection.isSwallowed) return;
      if (isAnswer && connection.loss) return lose(lane, connection.loss, chunk);
      later(() => to.writable && to.write(chunk));
    });
    from.on('end', () => connection.isSwallowed || later(() => to.end()));
    from.on('error', () => to.destroy());
    from.on('close', () => {
      lanes.delete(lane);
      later(() => to.destroySoon());
    });
    obey(lane);
  }

  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1');
    client.setNoDelay();
    target.setNoDelay();
    const connection: Connection = {
      loss: null,
      isSwallowed: false,
      reset() {
        for (const socket of [client, target]) socket.resetAndDestroy();
      },
    };
    open({ from: client, to: target, isAnswer: false, connection });
    open({ from: target, to: client, isAnswer: true, connection });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const cut = () => {
    for (const { from } of [...lanes]) from.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => hold(true, true),
    mute: () => hold(false, true),
    muteAt(text) {
      trigger = text;
    },
    loseAnswer: (text, passing = 0) =>
      new Promise((done) => {
        loss = { text, passing, done };
      }),
    swallow: (text) =>
      new Promise((done) => {
        pit = { text, done };
      }),
    slow(ms) {
      delayMs = ms;
    },
    cut,
    lead(port) {
      targetPort = port;
    },
    heal() {
      delayMs = 0;
      trigger = null;
      loss = null;
      hold(false, false);
    },
    close() {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
