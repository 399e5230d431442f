import { decideDuplicate, isPreferred, type LinkClaim } from './duplicate-rule.js'
import type { Hello, Refusal } from './hello.js'
import { PROBE_TIMEOUT_MS } from './link-manager-options.js'
import type { OpenLink } from './open-link.js'

export interface AdmissionOptions {
  readonly ownServerId: string
  readonly ownInstanceId: string
  readonly maxLinks: number
  readonly nameOwner: (serverId: string) => Uint8Array | undefined
  /** Open links by server id; read, never changed here. */
  readonly links: ReadonlyMap<string, OpenLink>
}

/** A greeting's claim; its instance id is filled in when its hello is admitted. */
type PendingClaim = { readonly initiatedHere: boolean; instanceId: string }

/** Decides who, having proven the mesh secret, may have a link. */
export class Admission {
  /** Servers that an operator has cut off. */
  cut: ReadonlySet<string> = new Set()
  stopping = false
  /** Greetings that were admitted and are not links yet, by server id. */
  private readonly pending = new Map<PendingClaim, string>()

  constructor(private readonly options: AdmissionOptions) {}

  /** Undefined: welcome. May ask an old link for a sign of life first. Never rejects. */
  async admit(hello: Hello, publicKey: Uint8Array, claim: PendingClaim): Promise<Refusal | undefined> {
    const newcomer: LinkClaim = { initiatedHere: claim.initiatedHere, instanceId: hello.instanceId }
    const refusal =
      this.refusalByFacts(hello, publicKey) ?? (await this.refusalByOldLink(hello, publicKey, newcomer))
    if (refusal === undefined) {
      claim.instanceId = hello.instanceId
      this.pending.set(claim, hello.serverId)
    }
    return refusal
  }

  /** The greeting is over, whatever its outcome. */
  settled(claim: PendingClaim): void {
    this.pending.delete(claim)
  }

  /** Once more at the moment of opening, for what has come up since `admit`; now without waiting. */
  atOpening(hello: Hello, publicKey: Uint8Array, initiatedHere: boolean): Refusal | undefined {
    const refusal = this.refusalByFacts(hello, publicKey)
    const old = this.options.links.get(hello.serverId)
    if (refusal !== undefined || old === undefined) return refusal
    const decision = this.decide(old, { initiatedHere, instanceId: hello.instanceId })
    return decision === 'replace' ? undefined : duplicate(old, hello)
  }

  private refusalByFacts(hello: Hello, publicKey: Uint8Array): Refusal | undefined {
    const { ownServerId, ownInstanceId, links, maxLinks } = this.options
    if (hello.instanceId === ownInstanceId) return { reason: 'self', detail: 'this is the same process' }
    if (hello.serverId === ownServerId) {
      return { reason: 'name-in-use', detail: `there are two servers named '${ownServerId}'` }
    }
    const owner = this.options.nameOwner(hello.serverId)
    if (owner !== undefined && !sameBytes(owner, publicKey)) {
      const detail = `the name '${hello.serverId}' belongs to a server with another key`
      return { reason: 'name-in-use', detail }
    }
    if (this.stopping) return { reason: 'stopping', detail: 'the server is stopping' }
    if (this.cut.has(hello.serverId)) return { reason: 'cut', detail: 'cut by an operator' }
    if (links.size >= maxLinks && !links.has(hello.serverId)) {
      return { reason: 'too-many-links', detail: `there are ${links.size} links already` }
    }
    return undefined
  }

  private async refusalByOldLink(
    hello: Hello,
    publicKey: Uint8Array,
    newcomer: LinkClaim,
  ): Promise<Refusal | undefined> {
    const { links, ownServerId } = this.options
    if (!isPreferred(newcomer, ownServerId, hello.serverId) && this.hasBetterPending(hello)) {
      return { reason: 'duplicate-link', detail: 'the other direction is about to open' }
    }
    // Another link may come up while one is probed; it is then looked at in turn.
    for (let old = links.get(hello.serverId); old !== undefined; old = links.get(hello.serverId)) {
      const decision = this.decide(old, newcomer)
      if (decision === 'replace') return undefined
      if (decision === 'keep' || (await old.probe(PROBE_TIMEOUT_MS))) return duplicate(old, hello)
      old.close('no answer while a newcomer claims its place')
    }
    return this.refusalByFacts(hello, publicKey)
  }

  private hasBetterPending(hello: Hello): boolean {
    for (const [claim, serverId] of this.pending) {
      if (serverId !== hello.serverId || claim.instanceId !== hello.instanceId) continue
      if (isPreferred(claim, this.options.ownServerId, serverId)) return true
    }
    return false
  }

  private decide(old: OpenLink, newcomer: LinkClaim) {
    const claim = { initiatedHere: old.initiator, instanceId: old.remote.instanceId }
    return decideDuplicate(claim, newcomer, this.options.ownServerId, old.remote.serverId)
  }
}

function duplicate(old: OpenLink, newcomer: Hello): Refusal {
  if (old.remote.instanceId === newcomer.instanceId) {
    return { reason: 'duplicate-link', detail: `there is a link to '${newcomer.serverId}' already` }
  }
  const detail = `another running server has the name '${newcomer.serverId}': was a data directory copied?`
  return { reason: 'name-in-use', detail }
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, position) => byte === right[position])
}
