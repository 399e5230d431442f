import { Comparison } from '../audit/comparison.js'
import type { AuditSources } from '../audit/item-sums.js'
import { answerFromTuple, answerToTuple, askFromTuple, askToTuple } from '../audit/messages.js'
import { concludeAudit } from '../audit/report.js'
import { AuditSessions } from '../audit/sessions.js'
import { Survey } from '../audit/survey.js'
import type { Environment, Timer } from '../environment/environment.js'
import type { PeerLink } from '../gossip/peer.js'
import { AbortedError, InvalidArgumentError, NotRunningError, OverloadedError } from '../sync/errors.js'
import { encodeMessage } from '../wire/encode.js'
import { MessageType } from '../wire/message-type.js'
import type { WireTuple } from '../wire/wire-value.js'
import { type AuditEntry, auditItems } from './audit.js'
import type { DurableState } from './durable-state.js'
import type { GossipDriver } from './gossip-driver.js'
import { describeAudit, type MeshAudit } from './mesh-audit.js'
import type { MeshView } from './mesh-view.js'
import type { Settlements } from './settlements.js'

export interface MeshAuditOptions {
  /** How long to try; default 30,000. What is not settled then is reported as such. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Called now and then with how many rows have been looked at, here and elsewhere, of about how many. */
  readonly onProgress?: (progress: AuditProgress) => void
}

export interface AuditProgress {
  readonly done: number
  readonly total: number
}

export interface MeshAuditorOptions {
  readonly environment: Environment
  readonly serverId: string
  readonly durables: DurableState
  readonly settlements: Settlements
  readonly view: MeshView
  readonly gossip: GossipDriver
}

export const DEFAULT_AUDIT_TIMEOUT_MS = 30_000
const MAX_AUDIT_TIMEOUT_MS = 24 * 60 * 60 * 1000
/** Between two looks at what has come, and two questions to one server. */
const TICK_MS = 50
/** A question without an answer is asked again after so long. */
const REASK_MS = 1_000
/** A server without a link for so long is not waited for. */
const UNREACHABLE_AFTER_MS = 3_000
/** Work on audits in one turn of the event loop, and rows between two looks at the clock. */
const SLICE_MS = 2
const ROWS_A_STEP = 200

interface Asked {
  readonly comparison: Comparison
  askedMs: number
  isAnswered: boolean
  linkedMs: number
}

interface Audit {
  readonly id: number
  readonly own: Survey
  readonly servers: ReadonlyMap<string, Asked>
  readonly finish: (error?: Error) => void
}

/** Drives the audits that this server is asked for, and one of its own at a time. */
export class MeshAuditor {
  private readonly sessions: AuditSessions
  private audit: Audit | undefined
  private lastId = 0
  private isWorking = false
  private expiry: Timer | undefined
  private stopped = false

  private readonly sources: AuditSources

  constructor(private readonly options: MeshAuditorOptions) {
    const { durables, settlements } = options
    this.sources = {
      partitions: durables.partitions.byName,
      unnumbered: (partition) => durables.committer.unnumberedGenerations(partition),
      provisional: (partition, entry) => settlements.of(partition).undecided(entry),
    }
    this.sessions = new AuditSessions(this.sources)
  }

  /** Every item of this server, in slices. */
  items(signal: AbortSignal | undefined): AsyncGenerator<AuditEntry> {
    return auditItems(this.sources, this.options.environment.scheduler, signal)
  }

  /** Rejects with InvalidArgumentError, OverloadedError (one audit at a time), AbortedError, NotRunningError. */
  auditMesh(options: MeshAuditOptions): Promise<MeshAudit> {
    const { timeoutMs = DEFAULT_AUDIT_TIMEOUT_MS, signal, onProgress } = options
    if (!(Number.isFinite(timeoutMs) && timeoutMs > 0 && timeoutMs <= MAX_AUDIT_TIMEOUT_MS))
      return Promise.reject(new InvalidArgumentError(`timeoutMs: above 0, at most ${MAX_AUDIT_TIMEOUT_MS}`))
    if (this.stopped) return Promise.reject(new NotRunningError('the node has stopped'))
    if (this.audit) return Promise.reject(new OverloadedError('an audit of this server is under way'))
    if (signal?.aborted) return Promise.reject(new AbortedError('audit aborted'))
    const { clock, scheduler } = this.options.environment
    const endMs = clock.monotonicMs() + timeoutMs
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined
      const onAbort = () => audit.finish(new AbortedError('audit aborted'))
      const finish = (error?: Error) => {
        timer?.cancel()
        signal?.removeEventListener('abort', onAbort)
        this.audit = undefined
        const report = error ?? this.report(audit)
        this.end(audit)
        if (report instanceof Error) reject(report)
        else resolve(report)
      }
      const audit = this.begin(finish)
      this.audit = audit
      signal?.addEventListener('abort', onAbort, { once: true })
      const tick = () => {
        const nowMs = clock.monotonicMs()
        this.ask(audit, nowMs)
        if (this.isSettled(audit, nowMs) || nowMs >= endMs) return finish()
        timer = scheduler.after(TICK_MS, tick)
        onProgress?.(progressOf(audit))
      }
      this.workSoon()
      tick()
    })
  }

  /** @throws FrameError */
  receive(server: string, type: number, tuple: WireTuple): void {
    if (this.stopped) return
    if (type === MessageType.auditAnswer) {
      const asked = this.audit?.servers.get(server)
      const answer = answerFromTuple(tuple)
      if (!asked || !answer) return
      if (answer.id === this.audit!.id) asked.isAnswered = true
      asked.comparison.take(answer)
      // It may have to list cells of its own now.
      this.workSoon()
      return
    }
    const ask = askFromTuple(tuple)
    if (!ask) return
    const answers = this.sessions.ask(server, ask, this.options.environment.clock.monotonicMs())
    // An answer that the link does not take is asked for again.
    for (const answer of answers) this.linkTo(server)?.sendBulk(encodeMessage(answerToTuple(answer)))
    this.expireLater()
    this.workSoon()
  }

  stop(): void {
    this.stopped = true
    this.audit?.finish(new NotRunningError('the node stopped'))
    this.expiry?.cancel()
    this.sessions.close()
  }

  private begin(finish: Audit['finish']): Audit {
    const { environment, view } = this.options
    const id = ++this.lastId + Math.floor(environment.random.uniform() * 2 ** 32) * 2 ** 16
    const own = new Survey(this.sources)
    const nowMs = environment.clock.monotonicMs()
    const names = view.otherServers().sort()
    const servers = names.map((server): [string, Asked] => [
      server,
      {
        comparison: new Comparison(server, id, own),
        askedMs: Number.NEGATIVE_INFINITY,
        isAnswered: true,
        linkedMs: nowMs,
      },
    ])
    return { id, own, servers: new Map(servers), finish }
  }

  private ask({ servers }: Audit, nowMs: number): void {
    for (const [server, asked] of servers) {
      const link = this.linkTo(server)
      asked.comparison.advance()
      if (!link) continue
      asked.linkedMs = nowMs
      const question = asked.comparison.next()
      if (!question || (!asked.isAnswered && nowMs - asked.askedMs < REASK_MS)) continue
      asked.askedMs = nowMs
      asked.isAnswered = false
      link.sendControl(encodeMessage(askToTuple(question)))
    }
  }

  private isSettled({ own, servers }: Audit, nowMs: number): boolean {
    for (const { comparison, linkedMs } of servers.values()) {
      if (!comparison.isDone && nowMs - linkedMs < UNREACHABLE_AFTER_MS) return false
    }
    return own.isComplete && own.verdict().overdrawnCount === 0
  }

  private report({ own, servers }: Audit): MeshAudit {
    const verdict = own.isComplete ? own.verdict() : undefined
    const findings = [...servers].map(([server, { comparison }]) =>
      comparison.findings(this.linkTo(server) !== undefined),
    )
    return describeAudit(concludeAudit(verdict, findings), this.options.serverId, verdict, findings)
  }

  private end({ id, own, servers }: Audit): void {
    own.close()
    const end = encodeMessage(askToTuple({ id, type: 'end' }))
    for (const server of servers.keys()) this.linkTo(server)?.sendControl(end)
  }

  private linkTo(server: string): PeerLink | undefined {
    return this.options.gossip.replicator.peers.get(server)?.link
  }

  private workSoon(): void {
    if (this.isWorking) return
    this.isWorking = true
    this.options.environment.scheduler.soon(() => {
      this.isWorking = false
      if (!this.stopped && this.work()) this.workSoon()
    })
  }

  /** Returns whether there is more to do. */
  private work(): boolean {
    const { clock } = this.options.environment
    const untilMs = clock.monotonicMs() + SLICE_MS
    for (;;) {
      const forOthers = this.sessions.work(ROWS_A_STEP)
      const forItself = this.audit?.own.work(ROWS_A_STEP) ?? false
      if (!forOthers && !forItself) return false
      if (clock.monotonicMs() >= untilMs) return true
    }
  }

  private expireLater(): void {
    if (this.sessions.size === 0) return
    const { clock, scheduler } = this.options.environment
    this.expiry ??= scheduler.after(1_000, () => {
      this.expiry = undefined
      this.sessions.expire(clock.monotonicMs())
      this.expireLater()
    })
  }
}

function progressOf({ own, servers }: Audit): AuditProgress {
  let { done, total } = own.progress
  for (const { comparison } of servers.values()) {
    done += comparison.progress.done
    total += comparison.progress.total
  }
  return { done, total }
}
