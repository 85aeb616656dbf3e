// What a person asks of Python. A command is sent again, with the same rid, until it is answered; Python answers a
// rid that it has seen with its first answer, so nothing happens twice.

export type Reply = { rid: string; ok: boolean; error?: string | null; result?: unknown };
type Waiting = { message: object; resolve: (result: unknown) => void; reject: (error: Error) => void; timer: ReturnType<typeof setTimeout>; wait_ms: number };

const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 16000;

export class Commands {
  private readonly waiting = new Map<string, Waiting>();
  private count = 0;

  constructor(
    private readonly send: (message: object) => void,
    private readonly onChange: () => void = () => {},
    private readonly prefix: string = crypto.randomUUID().slice(0, 8),
  ) {}

  get nPending(): number {
    return this.waiting.size;
  }

  /** Resolves with the result once Python has answered, however late that is; rejects with Python's own words. */
  call<T = unknown>(name: string, args: object = {}): Promise<T> {
    const rid = `${this.prefix}-${++this.count}`;
    const message = { kind: "cmd", rid, name, args };
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(rid, { message, resolve: resolve as (result: unknown) => void, reject, timer: this.later(rid, FIRST_WAIT_MS), wait_ms: FIRST_WAIT_MS });
      this.send(message);
      this.onChange();
    });
  }

  reply(reply: Reply): void {
    const command = this.waiting.get(reply.rid);
    if (!command) return; // the second answer to a command that was sent twice
    clearTimeout(command.timer);
    this.waiting.delete(reply.rid);
    this.onChange();
    if (reply.ok) command.resolve(reply.result);
    else command.reject(new Error(reply.error || "The kernel gave no reason."));
  }

  close(): void {
    for (const command of this.waiting.values()) clearTimeout(command.timer);
    this.waiting.clear();
  }

  private later(rid: string, wait_ms: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      const command = this.waiting.get(rid);
      if (!command) return;
      command.wait_ms = Math.min(2 * wait_ms, LONGEST_WAIT_MS); // a kernel that is busy for an hour should not find 1800 copies
      command.timer = this.later(rid, command.wait_ms);
      this.send(command.message);
    }, wait_ms);
  }
}
