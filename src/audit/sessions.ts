import type { ListedCell } from './cell-scan.js'
import type { AuditSources } from './item-sums.js'
import { type AuditAnswer, type AuditAsk, CELL_LIST_BYTES, MAX_CELL_ROWS, sumsInParts } from './messages.js'
import { Survey } from './survey.js'

/** Servers for which one server audits itself at once; the others are told that it is busy. */
export const MAX_AUDIT_SESSIONS = 4
/** An asker that has not been heard of for so long has gone. */
export const SESSION_IDLE_MS = 5_000
/** Questions of one asker that come faster than this are not answered: it will ask again. */
export const MIN_ASK_GAP_MS = 10

/** One asker's audits begin at least so far apart: whoever asks all the time does not keep this server busy. */
export const MIN_SESSION_GAP_MS = 1_000

interface Session {
  readonly id: number
  readonly survey: Survey
  heardMs: number
}

/**
 * Answers the audits of other servers. Each gets a survey of its own, begun when it first asks, so that what is
 * wrong by then is found; they are worked off in turn and bounded in number, so an asker costs little.
 */
export class AuditSessions {
  private readonly sessions = new Map<string, Session>()
  /** When the last audit of each asker began; forgotten when it no longer matters. */
  private readonly begunMs = new Map<string, number>()

  constructor(private readonly sources: AuditSources) {}

  get size(): number {
    return this.sessions.size
  }

  /** What to answer to that server: nothing, one message, or several parts. */
  ask(server: string, ask: AuditAsk, nowMs: number): AuditAnswer[] {
    const { id } = ask
    if (ask.type === 'end') {
      if (this.sessions.get(server)?.id === id) this.end(server)
      return []
    }
    let session = this.sessions.get(server)
    if (session && nowMs - session.heardMs < MIN_ASK_GAP_MS) return []
    if (session?.id !== id) {
      const isTooSoon = nowMs - (this.begunMs.get(server) ?? Number.NEGATIVE_INFINITY) < MIN_SESSION_GAP_MS
      if (!isTooSoon && session) this.end(server)
      if (isTooSoon || this.sessions.size >= MAX_AUDIT_SESSIONS) return [{ id, type: 'busy' }]
      session = { id, survey: new Survey(this.sources), heardMs: nowMs }
      this.sessions.set(server, session)
      this.begunMs.set(server, nowMs)
    }
    session.heardMs = nowMs
    return answer(session.survey, ask)
  }

  /** Works for each asker in turn. Returns whether there is more to do. */
  work(rows: number): boolean {
    let more = false
    for (const { survey } of this.sessions.values()) if (survey.work(rows)) more = true
    return more
  }

  /** Forgets askers that have gone. */
  expire(nowMs: number): void {
    for (const [server, { heardMs }] of this.sessions) if (nowMs - heardMs > SESSION_IDLE_MS) this.end(server)
    for (const [server, begunMs] of this.begunMs)
      if (nowMs - begunMs > MIN_SESSION_GAP_MS && !this.sessions.has(server)) this.begunMs.delete(server)
  }

  close(): void {
    for (const server of [...this.sessions.keys()]) this.end(server)
  }

  private end(server: string): void {
    this.sessions.get(server)?.survey.close()
    this.sessions.delete(server)
  }
}

function answer(survey: Survey, ask: Exclude<AuditAsk, { type: 'end' }>): AuditAnswer[] {
  const { id, type } = ask
  const working: AuditAnswer = { id, type: 'working', ...survey.progress }
  if (!survey.isComplete) return [working]
  switch (type) {
    case 'sums': {
      const parts = sumsInParts(survey.currentSums())
      return parts.map((sums, position) => ({ id, type, sums, more: position < parts.length - 1 }))
    }
    case 'verdict':
      return [{ id, type, verdict: survey.verdict() }]
    case 'buckets': {
      const { partition, replica } = ask
      const found = survey.sumsOf(partition)?.buckets(replica)
      return [found ? { id, type, partition, replica, ...found } : working]
    }
    case 'cells': {
      const { partition, replica, buckets, from } = ask
      const list = survey.list({ partition, replica }, buckets)
      if (!list?.isComplete) return [working]
      const cells = pageOf(list.cells, from)
      const more = from + cells.length < list.cells.length
      const { known, isTruncated } = list
      return [{ id, type, partition, replica, known, isTruncated, from, cells, more }]
    }
  }
}

function pageOf(all: readonly ListedCell[], from: number): ListedCell[] {
  const page: ListedCell[] = []
  let bytes = 0
  for (let position = from; position < all.length && page.length < MAX_CELL_ROWS; position++) {
    const cell = all[position]!
    // At most three bytes a UTF-16 unit; the numbers fit into the rest.
    bytes += 3 * (cell.namespace.length + cell.key.length) + 32
    if (bytes > CELL_LIST_BYTES && page.length > 0) break
    page.push(cell)
  }
  return page
}
