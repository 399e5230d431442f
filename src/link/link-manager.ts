import type { Channel, ChannelHandler, Listener } from '../environment/environment.js'
import { ConfigError, type RefusalReason } from '../sync/errors.js'
import { type ReplicaId, replicaId } from '../sync/identity.js'
import { Admission } from './admission.js'
import { Dialler, type DialOutcome } from './dialler.js'
import { EventQueue } from './event-queue.js'
import { Greeting, type GreetingOutcome } from './greeting.js'
import {
  decodeHello,
  encodeHello,
  type Hello,
  INSTANCE_ID_BYTES,
  MAX_PROTOCOL_VERSION,
  MIN_PROTOCOL_VERSION,
  type Refusal,
} from './hello.js'
import type { Link, LinkDownReason } from './link.js'
import {
  HANDSHAKE_TIMEOUT_MS,
  type LinkManagerOptions,
  MAX_LINKS,
  MIN_SECRET_BYTES,
} from './link-manager-options.js'
import { OpenLink } from './open-link.js'
import { Turns } from './turns.js'

/** Feature: this side can decompress frames. */
const DEFLATE_FEATURE = 'deflate'
/** Hello exchanges at once with who dialled us; beyond it the oldest is refused, since honest ones take milliseconds. */
export const MAX_GREETINGS = 64
/** How long `stop` waits for the last messages to leave. */
const STOP_TIMEOUT_MS = 1_500

/**
 * Keeps one link to each server it can reach: listens, dials, greets, refuses, reconnects.
 *
 * The owner hears of links in order and on jobs of their own, never from within one of its own calls.
 */
export class LinkManager {
  /** This process's random id, hex; sent in every hello. */
  readonly instanceId: string
  private readonly open = new Map<string, OpenLink>()
  private readonly greetings = new Set<Greeting>()
  private readonly dialler: Dialler
  private readonly admission: Admission
  private readonly turns: Turns
  private readonly features: readonly string[]
  private readonly stopping = new AbortController()
  private listener: Listener | undefined
  private readonly events = new EventQueue()

  /** @throws ConfigError when the secret is too short to be one, or a name or address no peer would accept. */
  constructor(private readonly options: LinkManagerOptions) {
    if (options.secret.length < MIN_SECRET_BYTES) {
      throw new ConfigError(
        `the mesh secret has ${options.secret.length} bytes; ${MIN_SECRET_BYTES} are needed`,
      )
    }
    const { clock, scheduler, random } = options.environment
    this.instanceId = Buffer.from(random.bytes(INSTANCE_ID_BYTES)).toString('hex')
    this.features = [...(options.compression === false ? [] : [DEFLATE_FEATURE]), ...(options.features ?? [])]
    requireValidHello(this.hello(replicaId(options.serverId, '0')))
    this.turns = new Turns(clock, scheduler)
    this.dialler = new Dialler({
      clock,
      scheduler,
      random,
      dial: (address) => this.dial(address),
      isSettled: (serverId, address) => this.isSettled(serverId, address),
    })
    this.admission = new Admission({
      ownServerId: options.serverId,
      ownInstanceId: this.instanceId,
      maxLinks: options.maxLinks ?? MAX_LINKS,
      nameOwner: (serverId) => options.nameOwner?.(serverId),
      links: this.open,
    })
  }

  /** Open links by server id. A live view. */
  get links(): ReadonlyMap<string, Link> {
    return this.open
  }

  /** `ws://host:port` that others may dial (advertised or bound); '' when this server only dials. */
  get listenAddress(): string {
    if (this.options.advertisedAddress !== undefined) return this.options.advertisedAddress
    const bound = this.listener?.address ?? ''
    return isWildcard(bound) ? '' : bound
  }

  /** Begins to listen (when so configured) and to dial. @throws AddressInUseError */
  async start(): Promise<void> {
    const { listen, environment, keyPair, logger } = this.options
    if (listen === undefined) return
    this.listener = await environment.network.listen({
      ...listen,
      keyPair,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      onChannel: (channel) => this.accept(channel),
    })
    if (this.listenAddress === '') {
      const hint =
        'listening on every interface: set an advertised address, or no peer can learn where to dial'
      logger.warn({ address: this.listener.address }, hint)
    }
  }

  /** Addresses to stay linked to. Replaces the former set; links that are open stay open. */
  setTargets(addresses: readonly string[]): void {
    if (!this.stopping.signal.aborted) this.dialler.setTargets(addresses)
  }

  /**
   * For operators and chaos scripts: closes and refuses links with these servers until called again without
   * them. An empty set heals; targets that were held back are dialled at once.
   */
  setCut(serverIds: ReadonlySet<string>): void {
    this.admission.cut = new Set(serverIds)
    for (const serverId of serverIds) this.open.get(serverId)?.close('cut by an operator')
    this.dialler.retryNow()
  }

  /** Stops listening and dialling, sends what is queued if it can, closes all links. Idempotent. */
  async stop(): Promise<void> {
    if (this.stopping.signal.aborted) return
    this.stopping.abort()
    this.admission.stopping = true
    this.dialler.stop()
    for (const greeting of [...this.greetings]) greeting.abandon('stopping', 'the server is stopping')
    const ends = [...this.open.values()].map((link) => {
      link.close('stopping')
      return link.ended()
    })
    await Promise.all([this.listener?.close(), this.atMost(STOP_TIMEOUT_MS, Promise.all(ends))])
  }

  private async dial(address: string): Promise<DialOutcome> {
    const { environment, keyPair, logger } = this.options
    let channel: Channel
    try {
      channel = await environment.network.dial({
        address,
        keyPair,
        handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
        signal: this.stopping.signal,
      })
    } catch (error) {
      logger.debug({ address, error: (error as Error).message }, 'dial failed')
      return { kind: 'failed' }
    }
    return new Promise((resolve) => this.greet(channel, address, resolve))
  }

  private accept(channel: Channel): void {
    this.greet(channel, channel.remoteAddress, () => undefined)
  }

  private greet(channel: Channel, peer: string, report: (outcome: DialOutcome) => void): void {
    const { environment, secret, keyPair } = this.options
    // The greeting may end within its own constructor, before there is a name for it.
    const pending: { greeting?: Greeting; over: boolean } = { over: false }
    const claim = { initiatedHere: channel.initiator, instanceId: '' }
    const greeting = new Greeting({
      channel,
      secret,
      ownPublicKey: keyPair.publicKey,
      hello: this.hello(this.options.replicaId()),
      scheduler: environment.scheduler,
      admit: (hello) => this.admission.admit(hello, channel.remotePublicKey, claim),
      done: (outcome) => {
        pending.over = true
        if (pending.greeting !== undefined) this.greetings.delete(pending.greeting)
        this.admission.settled(claim)
        if (outcome.kind === 'up') return this.install(channel, outcome.hello, outcome.version, report)
        report(this.noteFailure(peer, outcome))
        return undefined
      },
    })
    pending.greeting = greeting
    if (pending.over) return
    this.greetings.add(greeting)
    if (this.stopping.signal.aborted) greeting.abandon('stopping', 'the server is stopping')
    else this.limitGreetings()
  }

  private limitGreetings(): void {
    const incoming = [...this.greetings].filter((greeting) => greeting.incoming)
    if (incoming.length > MAX_GREETINGS) incoming[0]!.abandon('hello-timeout', 'too many servers at once')
  }

  private hello(replica: ReplicaId): Hello {
    return {
      minVersion: MIN_PROTOCOL_VERSION,
      maxVersion: MAX_PROTOCOL_VERSION,
      clusterId: this.options.clusterId,
      serverId: this.options.serverId,
      replicaId: replica,
      instanceId: this.instanceId,
      features: this.features,
      listenAddress: this.listenAddress,
    }
  }

  private noteFailure(peer: string, outcome: Exclude<GreetingOutcome, { kind: 'up' }>): DialOutcome {
    const { logger, owner } = this.options
    if (outcome.kind === 'lost') {
      logger.debug({ peer, reason: outcome.reason }, 'connection lost during the hello')
      return { kind: 'failed' }
    }
    const { by, reason, detail, serverId } = outcome
    const fields = { peer, serverId, reason, detail, by }
    if (isExpected(reason)) logger.debug(fields, 'link refused')
    else logger.warn(fields, 'link refused')
    this.events.push(() => owner.refused(serverId === '' ? peer : serverId, reason, detail, by))
    return { kind: 'refused', reason, serverId }
  }

  /** Both sides have agreed. Last look at what has come up meanwhile, then the link is one. */
  private install(
    channel: Channel,
    hello: Hello,
    version: number,
    report: (outcome: DialOutcome) => void,
  ): ChannelHandler {
    const refusal = this.admission.atOpening(hello, channel.remotePublicKey, channel.initiator)
    const link = new OpenLink({
      channel,
      remote: {
        serverId: hello.serverId,
        clusterId: hello.clusterId,
        replicaId: hello.replicaId,
        instanceId: hello.instanceId,
        features: new Set(hello.features),
        listenAddress: hello.listenAddress,
        publicKey: channel.remotePublicKey,
        protocolVersion: version,
        remoteAddress: channel.remoteAddress,
      },
      environment: this.options.environment,
      turns: this.turns,
      compress: this.options.compression !== false && hello.features.includes(DEFLATE_FEATURE),
      onDown: (down, reason) => this.onDown(down, reason),
    })
    if (refusal !== undefined) {
      report(this.refuseOpened(link, refusal))
      return link.channelHandler
    }
    this.open.get(hello.serverId)?.close('replaced by a newer link')
    this.open.set(hello.serverId, link)
    this.options.logger.info({ serverId: hello.serverId, address: channel.remoteAddress }, 'link up')
    this.events.push(() => link.setHandler(this.options.owner.linkUp(link)))
    report({ kind: 'linked', serverId: hello.serverId })
    return link.channelHandler
  }

  private refuseOpened(link: OpenLink, refusal: Refusal): DialOutcome {
    link.close(refusal.reason)
    const { serverId, remoteAddress } = link.remote
    return this.noteFailure(remoteAddress, { kind: 'refused', by: 'local', serverId, ...refusal })
  }

  private onDown(link: OpenLink, reason: LinkDownReason): void {
    const { serverId, listenAddress } = link.remote
    // One that was refused at its opening never was a link to anybody else.
    if (this.open.get(serverId) !== link) return
    this.open.delete(serverId)
    const { logger, owner, environment } = this.options
    const fields = { serverId, reason: reason.reason, by: reason.by }
    if (reason.error === undefined) logger.info(fields, 'link down')
    else logger.warn(fields, 'link closed: the peer broke the protocol')
    this.events.push(() => owner.linkDown(link, reason))
    this.dialler.linkDown(serverId, listenAddress, environment.clock.monotonicMs() - link.openedMs)
  }

  private isSettled(serverId: string, address: string): boolean {
    if (address === this.listenAddress || this.admission.cut.has(serverId) || this.open.has(serverId))
      return true
    for (const link of this.open.values()) if (link.remote.listenAddress === address) return true
    return false
  }

  private atMost(limitMs: number, promise: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve) => {
      const timer = this.options.environment.scheduler.after(limitMs, () => resolve(undefined))
      promise.then(() => {
        timer.cancel()
        resolve(undefined)
      }, resolve)
    })
  }
}

/** What no peer would accept is refused before the first one sees it. */
function requireValidHello(hello: Hello): void {
  try {
    decodeHello(encodeHello(hello))
  } catch (error) {
    throw new ConfigError(`this server cannot introduce itself: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** Refusals that happen in a healthy mesh. */
function isExpected(reason: RefusalReason): boolean {
  return reason === 'duplicate-link' || reason === 'self' || reason === 'stopping' || reason === 'cut'
}

function isWildcard(address: string): boolean {
  return address.startsWith('ws://0.0.0.0:') || address.startsWith('ws://[::]:')
}
