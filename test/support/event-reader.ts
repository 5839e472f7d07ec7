/**
 * A reader of Server-Sent Events that shows what came, and can stop reading or hang up.
 */
import { type IncomingMessage, request } from 'node:http';

export interface ReceivedEvent {
  id: string;
  event: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into events of every form
  data: any;
}

export interface EventReader {
  status: number;
  headers: IncomingMessage['headers'];
  events: ReceivedEvent[];
  /** The text of the stream so far. */
  text(): string;
  /** The events so far in short: "status queued", "progress", "done". */
  names(): string[];
  readonly lastId: string;
  /** Resolves when the stream ends or is cut. */
  closed: Promise<void>;
  hangUp(): void;
}

export function readEvents(url: string, headers: Record<string, string>): Promise<EventReader> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false, headers }, (response) => resolve(readerOf(response)));
    sent.on('error', reject).end();
  });
}

function readerOf(response: IncomingMessage): EventReader {
  const events: ReceivedEvent[] = [];
  let text = '';
  let rest = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) if (block.startsWith('id: ')) events.push(parse(block));
  });
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    text: () => text,
    names: () => events.map(({ event, data }) => (event === 'status' ? `status ${data.status}` : event)),
    get lastId() {
      return events.at(-1)?.id ?? '';
    },
    closed: new Promise((resolve) => response.on('error', () => undefined).once('close', resolve)),
    hangUp: () => void response.destroy(),
  };
}

function parse(block: string): ReceivedEvent {
  const fields = Object.fromEntries(
    block.split('\n').map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
  );
  return { id: fields.id ?? '', event: fields.event ?? '', data: JSON.parse(fields.data ?? 'null') };
}
