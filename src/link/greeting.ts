import type { Channel, ChannelHandler, Scheduler, Timer } from '../environment/environment.js'
import type { RefusalReason } from '../sync/errors.js'
import type { Hello, Refusal } from './hello.js'
import { type HelloEffect, HelloExchange } from './hello-exchange.js'
import { HELLO_TIMEOUT_MS } from './link-manager-options.js'

/** How a hello exchange ended. */
export type GreetingOutcome =
  | { readonly kind: 'up'; readonly hello: Hello; readonly version: number }
  | ({ readonly kind: 'refused'; readonly by: 'local' | 'remote'; readonly serverId: string } & Refusal)
  | { readonly kind: 'lost'; readonly reason: string }

export interface GreetingOptions {
  readonly channel: Channel
  readonly secret: Uint8Array
  readonly ownPublicKey: Uint8Array
  readonly hello: Hello
  readonly scheduler: Scheduler
  /** Whether a server that has proven itself may come in. Must not reject. */
  readonly admit: (hello: Hello) => Promise<Refusal | undefined>
  /**
   * Called once. For 'up' the channel's handler is taken over by the returned one, in the same job, so that
   * no message falls between; otherwise the channel is being closed.
   */
  readonly done: (outcome: GreetingOutcome) => ChannelHandler | undefined
}

/** Runs the hello exchange over one channel, with a timeout. */
export class Greeting implements ChannelHandler {
  private readonly exchange: HelloExchange
  private readonly timer: Timer
  private successor: ChannelHandler | undefined
  private finished = false

  constructor(private readonly options: GreetingOptions) {
    const { channel, ownPublicKey, scheduler } = options
    const own = ownPublicKey
    const other = channel.remotePublicKey
    this.exchange = new HelloExchange(
      channel.initiator ? 'initiator' : 'acceptor',
      options.secret,
      {
        handshakeHash: channel.handshakeHash,
        initiatorPublicKey: channel.initiator ? own : other,
        acceptorPublicKey: channel.initiator ? other : own,
      },
      options.hello,
    )
    this.timer = scheduler.after(HELLO_TIMEOUT_MS, () => {
      this.abandon('hello-timeout', `no hello within ${HELLO_TIMEOUT_MS} ms`)
    })
    channel.setHandler(this)
    this.run(this.exchange.start())
  }

  /** The other side dialled. */
  get incoming(): boolean {
    return !this.options.channel.initiator
  }

  message(bytes: Uint8Array): void {
    if (this.successor !== undefined) this.successor.message(bytes)
    else this.run(this.exchange.receive(bytes))
  }

  drain(): void {
    this.successor?.drain()
  }

  closed(reason: string): void {
    if (this.successor !== undefined) this.successor.closed(reason)
    else this.finish({ kind: 'lost', reason })
  }

  /** Refuses from this side, whatever the state. */
  abandon(reason: RefusalReason, detail: string): void {
    this.run(this.exchange.abandon(reason, detail))
  }

  private run(effects: readonly HelloEffect[]): void {
    for (const effect of effects) {
      if (this.finished) return
      switch (effect.do) {
        case 'send':
          this.options.channel.send(effect.message)
          break
        case 'admit':
          this.options.admit(effect.hello).then((refusal) => this.run(this.exchange.admitted(refusal)))
          break
        case 'up':
          this.finish({ kind: 'up', hello: effect.hello, version: effect.version })
          break
        case 'refused': {
          const { by, reason, detail, serverId } = effect
          this.finish({ kind: 'refused', by, reason, detail, serverId })
          this.options.channel.close(`refused: ${reason}`)
        }
      }
    }
  }

  private finish(outcome: GreetingOutcome): void {
    if (this.finished) return
    this.finished = true
    this.timer.cancel()
    this.successor = this.options.done(outcome)
  }
}
