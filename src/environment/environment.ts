/**
 * The one door through which time, randomness, network and disk reach the code.
 *
 * Production gets `createRealEnvironment()`; the simulator gets a virtual one and runs the very same
 * node. Nothing outside `src/environment/` may call `Date`, `Math.random`, timers, `node:fs`, `node:net`,
 * `ws` or anything else that is not a function of its arguments.
 */
export interface Environment {
  readonly clock: Clock
  readonly random: RandomSource
  readonly scheduler: Scheduler
  readonly network: Network
  readonly disk: Disk
  readonly compressor: Compressor
}

export interface Clock {
  /** Milliseconds since the Unix epoch. May jump in both directions; never used to measure a span. */
  wallMs(): number
  /** Milliseconds since an arbitrary start, fractional, never going back. */
  monotonicMs(): number
}

export interface RandomSource {
  /** Fresh array of `length` random bytes. */
  bytes(length: number): Uint8Array
  /** Uniform in [0, 1). Not for secrets. */
  uniform(): number
}

export interface Timer {
  /** Idempotent; a cancelled task never runs. */
  cancel(): void
}

export interface Scheduler {
  /** Runs `task` once, not before `delayMs` of monotonic time has passed. Does not keep a process alive. */
  after(delayMs: number, task: () => void): Timer
  /** Runs `task` on a later turn of the event loop, after pending I/O had its chance. */
  soon(task: () => void): void
}

/** An Ed25519 key pair; `publicKey` is 32 bytes, `secretKey` 64. */
export interface KeyPair {
  readonly publicKey: Uint8Array
  readonly secretKey: Uint8Array
}

/**
 * A secured channel between two servers: authenticated, encrypted, ordered, message-preserving. It knows
 * nothing of the mesh secret, the hello or the frame format; those are the link's, above it.
 */
export interface Channel {
  readonly initiator: boolean
  /** 32-byte public key that the other side has proven in the handshake. */
  readonly remotePublicKey: Uint8Array
  /** Same bytes on both sides, unique to this handshake: what proofs are bound to. */
  readonly handshakeHash: Uint8Array
  /** For people and logs. */
  readonly remoteAddress: string
  /** Bytes accepted by `send` that have not left yet. */
  readonly bufferedBytes: number
  /**
   * Queues one message of 1 to `MAX_CHANNEL_MESSAGE_BYTES` bytes. The array belongs to the channel from then
   * on: it is read later, so it must not be written to again. No effect after the channel has closed.
   */
  send(message: Uint8Array): void
  /** Stops and restarts the arrival of messages, so that a full reader slows the sender down. */
  pause(): void
  resume(): void
  /** Sends what is queued if it can within a moment, then closes. Idempotent. `reason` is for logs. */
  close(reason: string): void
  /** Set once, right after the channel is handed over, before any message is delivered. */
  setHandler(handler: ChannelHandler): void
}

export interface ChannelHandler {
  /** The array belongs to the receiver. */
  message(message: Uint8Array): void
  /** `bufferedBytes` has fallen to (nearly) nothing after having been above it. */
  drain(): void
  /** Exactly once, and nothing after it. */
  closed(reason: string): void
}

/** Largest message of a channel; the secret stream's length prefix has 24 bits, we stay far below. */
export const MAX_CHANNEL_MESSAGE_BYTES = 1024 * 1024

export interface Network {
  /**
   * Accepts channels whose security handshake has succeeded. A remote that does not finish its handshake
   * within `handshakeTimeoutMs` is closed and never seen here.
   * @throws AddressInUseError when the address is taken.
   */
  listen(options: ListenOptions): Promise<Listener>
  /** @throws DialError (retryable) when no secured channel came about in time. */
  dial(options: DialOptions): Promise<Channel>
  /** The key pair that belongs to a 32-byte seed; the same seed gives the same pair. */
  keyPair(seed: Uint8Array): KeyPair
}

export interface ListenOptions {
  readonly host: string
  /** 0 picks a free port; `Listener.address` tells which. */
  readonly port: number
  readonly keyPair: KeyPair
  readonly handshakeTimeoutMs: number
  readonly onChannel: (channel: Channel) => void
}

export interface DialOptions {
  /** `ws://host:port`. */
  readonly address: string
  readonly keyPair: KeyPair
  readonly handshakeTimeoutMs: number
  readonly signal?: AbortSignal
}

export interface Listener {
  /** `ws://host:port` as bound. */
  readonly address: string
  /** Stops accepting. Channels already handed over live on. */
  close(): Promise<void>
}

/**
 * The few file operations that a journal needs, so that the simulator can lose and tear writes.
 * Paths are absolute or relative to the process, `/`-separated. Every failure is a `DiskError`.
 */
export interface Disk {
  makeDirectory(path: string): Promise<void>
  /** File names (not paths) in a directory, sorted. */
  list(path: string): Promise<string[]>
  /** Opens for appending at the end (of reserved zeros too), creating the file when absent. */
  openAppend(path: string): Promise<AppendFile>
  /** Opens for reading. @throws FileNotFoundError */
  openRead(path: string): Promise<ReadFile>
  /** Atomically replaces `to`. Durable only after `syncDirectory` on the directory. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes creations, renames and removals in that directory durable. */
  syncDirectory(path: string): Promise<void>
  /**
   * Exclusive hold on a data directory against other processes, released by `release` or by the death of
   * the process, however it died. @throws DirectoryInUseError
   */
  lock(path: string): Promise<DiskLock>
}

export interface AppendFile {
  /** Current length in bytes. */
  readonly size: number
  /**
   * Appends the chunks in order; with `durable` they (and everything before them) survive a power cut
   * once the promise resolves. At most one call is in flight. After a failure the file may hold part of
   * the data: call `truncate` to the last good size before going on. @throws DiskFullError, DiskError
   */
  append(chunks: readonly Uint8Array[], options: { readonly durable: boolean }): Promise<void>
  /**
   * A hint, for a file that is appended to in many small durable pieces: keeps up to `bytes` zeros behind `size`,
   * made in the background. A durable append into them changes data blocks only, where one that lengthens the file
   * waits for the file system's journal too. Never fails, and may do nothing; no effect while an append is in
   * flight. Whoever reads the file after a crash, or opens it again, finds the zeros at its end: `truncate` and
   * `close` cut them off.
   */
  reserve(bytes: number): void
  /** Cuts to `size` and makes that durable. */
  truncate(size: number): Promise<void>
  close(): Promise<void>
}

export interface ReadFile {
  readonly size: number
  /** Up to `length` bytes at `offset`; shorter only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

export interface DiskLock {
  release(): Promise<void>
}

/** Off the main thread in production. */
export interface Compressor {
  compress(data: Uint8Array): Promise<Uint8Array>
  /** @throws FrameError when damaged or when the result would exceed `maxBytes`. */
  decompress(data: Uint8Array, maxBytes: number): Promise<Uint8Array>
}
