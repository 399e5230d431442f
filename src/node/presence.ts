import { CellKind } from '../crdt/cell.js'
import type { Environment, Timer } from '../environment/environment.js'
import { VERSION } from '../version.js'
import type { NodeConfig } from './config.js'
import type { DurableState } from './durable-state.js'
import type { LevelWaiters } from './levels.js'
import { type MemberCard, type MemberDirectory, memberToValue } from './members.js'

export interface PresenceOptions {
  readonly config: NodeConfig
  readonly environment: Environment
  readonly durables: DurableState
  readonly directory: MemberDirectory
  readonly publicKey: Uint8Array
  readonly address: () => string
  /** Whether the strong group counts this server's votes. */
  readonly isVoter: () => boolean
}

/** How long a stopping node waits for its departure to reach a peer. */
const DEPART_TIMEOUT_MS = 2_000

/** How long a voter may have written to its Raft log without any other server being able to know. */
const TRACE_MS = 1_000

/** What this server says of itself in its member cell. */
export class Presence {
  private readonly startedMs: number
  private traceTimer: Timer | undefined
  private departed = false

  constructor(private readonly options: PresenceOptions) {
    this.startedMs = Math.floor(options.environment.clock.wallMs())
  }

  announce(departed = false): void {
    const { address, config, directory, durables, publicKey } = this.options
    const { shared } = durables.partitions
    const card: MemberCard = {
      replica: durables.incarnation.replica,
      address: address(),
      worlds: config.worlds,
      version: VERSION,
      publicKey,
      memoryOnly: config.dataDir === undefined,
      departed,
      startedMs: this.startedMs,
    }
    const entry = shared.table.entry(shared.table.namespace(CellKind.member, ''), config.serverId)
    shared.own.setObject(entry, memberToValue(card))
    durables.groupOf(shared)
    directory.invalidate()
  }

  /**
   * This server's part in the strong group has written to the journal. No peer can know of that, but each knows the
   * numbers of this replica's writes: the cell written anew is the trace by which a backup from before is recognised,
   * whose member must not vote and acknowledge as if nothing had happened since (RAFT-9).
   */
  strongWritten(): void {
    this.traceTimer ??= this.options.environment.scheduler.after(TRACE_MS, () => {
      this.traceTimer = undefined
      const isUsable = !this.departed && this.options.durables.journalStatus === 'ok'
      if (isUsable && this.options.isVoter()) this.announce()
    })
  }

  stop(): void {
    this.departed = true
    this.traceTimer?.cancel()
  }

  /** Leaves the membership; others should know before this server is gone. */
  async depart(waiters: LevelWaiters, isLinked: boolean): Promise<void> {
    const { durables } = this.options
    this.stop()
    if (durables.journalStatus !== 'ok') return
    this.announce(true)
    if (!isLinked || durables.committer.numberingHeld) return
    const group = durables.groupOf(durables.partitions.shared)
    await waiters.reach(group.numbered, 'ANY', { timeoutMs: DEPART_TIMEOUT_MS }).catch(() => undefined)
  }
}
