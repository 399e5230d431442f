import { FrameError, type RefusalReason } from '../sync/errors.js'
import {
  commonVersion,
  decodeHello,
  decodeHelloMessage,
  decodeHelloVersions,
  encodeHello,
  encodeHelloMessage,
  type Hello,
  type HelloMessage,
  type Refusal,
} from './hello.js'
import { type HandshakeBinding, helloProof, proofMatches, type Role } from './proof.js'

/** What the driver must do next, in order. After `up`, `refused` the exchange is over. */
export type HelloEffect =
  | { readonly do: 'send'; readonly message: Uint8Array }
  /** Ask whether this server may come in, and answer with `admitted`. */
  | { readonly do: 'admit'; readonly hello: Hello }
  | { readonly do: 'up'; readonly hello: Hello; readonly version: number }
  | ({
      readonly do: 'refused'
      readonly by: 'local' | 'remote'
      /** Who refused or was refused, when it is known. */
      readonly serverId: string
    } & Refusal)

/**
 * The hello exchange as a pure machine, one per channel.
 *
 *     initiator                         acceptor
 *     hello + proof  ---------------->  versions, proof, cluster, then the rest; admission
 *     the same checks, admission  <---  hello + proof
 *     ready  ------------------------>  up
 *
 * The acceptor says nothing of itself to who has not proven the secret, except that it refuses. Instead of
 * any message either side may send a refusal, so that both log the same reason.
 */
export class HelloExchange {
  private state: 'awaiting-hello' | 'awaiting-admission' | 'awaiting-ready' | 'over' = 'awaiting-hello'
  private remote: { hello: Hello; version: number } | undefined

  constructor(
    private readonly role: Role,
    private readonly secret: Uint8Array,
    private readonly binding: HandshakeBinding,
    private readonly own: Hello,
  ) {}

  get over(): boolean {
    return this.state === 'over'
  }

  start(): HelloEffect[] {
    return this.role === 'initiator' ? [this.ownHello()] : []
  }

  /** A message from the other side; anything at all, since nothing is proven yet. */
  receive(bytes: Uint8Array): HelloEffect[] {
    if (this.state === 'over') return []
    let message: HelloMessage
    try {
      message = decodeHelloMessage(bytes)
    } catch (error) {
      return this.malformed(error)
    }
    if (message.kind === 'refusal') {
      this.state = 'over'
      const serverId = this.remote?.hello.serverId ?? message.serverId
      return [{ do: 'refused', by: 'remote', reason: message.reason, detail: message.detail, serverId }]
    }
    if (message.kind === 'hello' && this.state === 'awaiting-hello') return this.onHello(message)
    if (message.kind === 'ready' && this.state === 'awaiting-ready') return this.up()
    return this.refuse('malformed-hello', `${message.kind} out of turn`)
  }

  /** The answer to `admit`. */
  admitted(refusal: Refusal | undefined): HelloEffect[] {
    if (this.state !== 'awaiting-admission') return []
    if (refusal !== undefined) return this.refuse(refusal.reason, refusal.detail)
    if (this.role === 'initiator') {
      return [{ do: 'send', message: encodeHelloMessage({ kind: 'ready' }) }, ...this.up()]
    }
    this.state = 'awaiting-ready'
    return [this.ownHello()]
  }

  /** Ends the exchange from this side: the timeout has passed, or the node is stopping. */
  abandon(reason: RefusalReason, detail: string): HelloEffect[] {
    return this.state === 'over' ? [] : this.refuse(reason, detail)
  }

  private onHello(message: { hello: Uint8Array; proof: Uint8Array }): HelloEffect[] {
    try {
      const theirs = decodeHelloVersions(message.hello)
      const version = commonVersion(this.own, theirs)
      if (version === undefined) {
        const { minVersion, maxVersion } = this.own
        const ranges = `${minVersion} to ${maxVersion} here, ${theirs.minVersion} to ${theirs.maxVersion} there`
        return this.refuse('unsupported-version', `protocol versions ${ranges}`)
      }
      const other = this.role === 'initiator' ? 'acceptor' : 'initiator'
      if (!proofMatches(helloProof(this.secret, other, this.binding, message.hello), message.proof)) {
        return this.refuse('wrong-secret', 'the mesh secrets of the two servers differ')
      }
      const hello = decodeHello(message.hello)
      if (hello.clusterId !== this.own.clusterId) {
        return this.refuse(
          'wrong-cluster',
          `the clusters are '${this.own.clusterId}' and '${hello.clusterId}'`,
        )
      }
      this.remote = { hello, version }
      this.state = 'awaiting-admission'
      return [{ do: 'admit', hello }]
    } catch (error) {
      return this.malformed(error)
    }
  }

  private malformed(error: unknown): HelloEffect[] {
    if (!(error instanceof FrameError)) throw error
    return this.refuse('malformed-hello', error.message)
  }

  private ownHello(): HelloEffect {
    const hello = encodeHello(this.own)
    const proof = helloProof(this.secret, this.role, this.binding, hello)
    return { do: 'send', message: encodeHelloMessage({ kind: 'hello', hello, proof }) }
  }

  private up(): HelloEffect[] {
    this.state = 'over'
    return [{ do: 'up', ...this.remote! }]
  }

  private refuse(reason: RefusalReason, detail: string): HelloEffect[] {
    this.state = 'over'
    const serverId = this.remote?.hello.serverId ?? ''
    const tellServerId = this.remote === undefined ? '' : this.own.serverId
    const message = encodeHelloMessage({ kind: 'refusal', reason, detail, serverId: tellServerId })
    return [
      { do: 'send', message },
      { do: 'refused', by: 'local', reason, detail, serverId },
    ]
  }
}
