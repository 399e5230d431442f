/** The part of @hyperswarm/secret-stream (which has no types) that we use. Its streams are streamx's. */
declare module '@hyperswarm/secret-stream' {
  /** What it asks of the stream below. */
  interface RawStream {
    on(event: 'data', listener: (bytes: Buffer) => void): unknown
    on(event: 'end' | 'drain' | 'close', listener: () => void): unknown
    on(event: 'error', listener: (error: Error) => void): unknown
    /** False: it waits for `drain`. */
    write(bytes: Buffer): boolean
    end(): void
    pause(): void
    resume(): void
    destroy(error?: Error | null): void
  }

  interface SecretStreamOptions {
    readonly keyPair?: { readonly publicKey: Uint8Array; readonly secretKey: Uint8Array }
  }

  export default class NoiseSecretStream {
    constructor(isInitiator: boolean, rawStream: RawStream, options?: SecretStreamOptions)
    /** Ed25519; from 32 bytes of seed, or random ones. */
    static keyPair(seed?: Uint8Array): { publicKey: Uint8Array; secretKey: Uint8Array }
    readonly isInitiator: boolean
    readonly publicKey: Uint8Array | null
    readonly remotePublicKey: Uint8Array | null
    readonly handshakeHash: Uint8Array | null
    readonly destroying: boolean
    /** streamx's own book-keeping; `buffered` is the bytes written and not yet taken. */
    readonly _writableState: { readonly buffered: number }
    on(event: 'connect' | 'end' | 'close' | 'drain', listener: () => void): this
    on(event: 'data', listener: (message: Uint8Array) => void): this
    on(event: 'error', listener: (error: Error) => void): this
    write(message: Uint8Array): boolean
    end(): void
    destroy(error?: Error): void
    pause(): void
    resume(): void
  }
}
