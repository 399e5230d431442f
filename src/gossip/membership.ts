import { incarnationOfReplica, type ReplicaId, serverOfReplica } from '../sync/identity.js'
import { ArrivalHistory, type FailureDetectorOptions } from './failure-detector.js'
import { type LifeSign, MAX_SERVERS } from './messages.js'

export type ServerStatus = 'alive' | 'suspect' | 'dead' | 'left' | 'unknown'

/** A change that the application hears of as SERVER_JOIN and SERVER_LEAVE, or that only logs. */
export interface StatusChange {
  readonly server: string
  readonly before: ServerStatus
  readonly after: ServerStatus
}

interface ServerRecord {
  sign: LifeSign
  status: ServerStatus
  history: ArrivalHistory
  /** When the record last gained news; a dead one is dropped some time after. */
  changedMs: number
}

/** A tick this much later than planned was this server's own stall. */
const LAG_TOLERANCE_MS = 50
/** Dead and departed servers are forgotten after this; their member cells remain until they are retired. */
export const FORGET_AFTER_MS = 24 * 60 * 60 * 1000
/** A link that just broke says more than silence: the pause that is otherwise forgiven is cut short by this share. */
const BROKEN_LINK_HEAD_START = 0.5

/**
 * Who is alive, from life signs that grow: (incarnation, starts, beat). Only a strictly greater sign counts, so
 * second-hand news of a dead server can repeat what was known but never revive it (memberlist 311, 312).
 * Pure: monotonic time comes in.
 */
export class Membership {
  private readonly records = new Map<string, ServerRecord>()
  private own: LifeSign
  private plannedTickMs: number | undefined

  constructor(
    replica: ReplicaId,
    starts: number,
    private readonly options: FailureDetectorOptions,
    private readonly onChange: (change: StatusChange) => void,
  ) {
    this.own = { server: serverOfReplica(replica), replica, starts, beat: 1 }
  }

  /** `starts` as in the journal, or the signs after the next restart would look older than today's. */
  changeIncarnation(replica: ReplicaId, starts: number): void {
    this.own = { ...this.own, replica, starts, beat: this.own.beat + 1 }
  }

  /** One more beat of this server, with everything it knows of the others. */
  beat(): LifeSign[] {
    this.own = { ...this.own, beat: this.own.beat + 1 }
    const signs = [this.own]
    for (const record of this.records.values()) {
      if (record.status === 'alive' || record.status === 'suspect') signs.push(record.sign)
    }
    return signs
  }

  status(server: string): ServerStatus {
    return server === this.own.server ? 'alive' : (this.records.get(server)?.status ?? 'unknown')
  }

  /** The replica that a server was last seen to write as. */
  replicaOf(server: string): ReplicaId | undefined {
    return server === this.own.server ? this.own.replica : this.records.get(server)?.sign.replica
  }

  servers(): IterableIterator<string> {
    return this.records.keys()
  }

  phi(server: string, nowMs: number): number {
    return this.records.get(server)?.history.phi(nowMs) ?? 0
  }

  hear(sign: LifeSign, nowMs: number): void {
    if (sign.server === this.own.server || serverOfReplica(sign.replica) !== sign.server) return
    const record = this.records.get(sign.server)
    if (!record) {
      // The own sign needs a place beside theirs; more than this no peer would accept from us.
      if (this.records.size >= MAX_SERVERS - 1) return
      const history = new ArrivalHistory(nowMs, this.options)
      const added: ServerRecord = { sign, status: 'unknown', history, changedMs: nowMs }
      this.records.set(sign.server, added)
      this.move(added, 'alive', nowMs)
      return
    }
    if (!isNewer(sign, record.sign)) return
    // The same start of the same replica said goodbye: what still arrives was under way before.
    const restarted = sign.replica !== record.sign.replica || sign.starts !== record.sign.starts
    if (record.status === 'left' && !restarted) return
    record.sign = sign
    record.changedMs = nowMs
    if (restarted) record.history = new ArrivalHistory(nowMs, this.options)
    else record.history.heard(nowMs)
    this.move(record, 'alive', nowMs)
  }

  /** The link to a server broke: that says more than mere silence. */
  linkBroken(server: string): void {
    const lessPatienceMs = this.options.acceptablePauseMs * BROKEN_LINK_HEAD_START
    this.records.get(server)?.history.hasten(lessPatienceMs)
  }

  left(server: string, nowMs: number): void {
    const record = this.records.get(server)
    if (record) this.move(record, 'left', nowMs)
  }

  /** Judges everyone. `nextTickMs`: when the caller plans to come again. */
  tick(nowMs: number, nextTickMs: number): void {
    const lagMs = this.plannedTickMs === undefined ? 0 : nowMs - this.plannedTickMs
    this.plannedTickMs = nextTickMs
    for (const [server, record] of this.records) {
      if (lagMs > LAG_TOLERANCE_MS) record.history.forgive(lagMs, nowMs)
      if (record.status === 'left' || record.status === 'dead') {
        if (nowMs - record.changedMs > FORGET_AFTER_MS) this.records.delete(server)
        continue
      }
      const phi = record.history.phi(nowMs)
      if (phi >= this.options.deadPhi) this.move(record, 'dead', nowMs)
      else if (phi >= this.options.suspectPhi) this.move(record, 'suspect', nowMs)
    }
  }

  private move(record: ServerRecord, after: ServerStatus, nowMs: number): void {
    const before = record.status
    if (before === after) return
    record.status = after
    record.changedMs = nowMs
    this.onChange({ server: record.sign.server, before, after })
  }
}

/** Whether `sign` is strictly later than `than`, for signs of one server. */
export function isNewer(sign: LifeSign, than: LifeSign): boolean {
  const incarnation = incarnationOfReplica(sign.replica)
  const other = incarnationOfReplica(than.replica)
  if (incarnation !== other) return incarnation > other
  return sign.starts !== than.starts ? sign.starts > than.starts : sign.beat > than.beat
}
