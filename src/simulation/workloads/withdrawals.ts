import type { MeshNode } from '../../node/mesh-node.js'
import type { Receipt } from '../../node/receipt.js'
import type { Storage } from '../../node/storage.js'
import { Withdrawal } from '../../node/withdrawal.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import type { LedgerEntry } from '../run/ledger.js'
import type { Named } from '../run/named.js'
import type { Place } from '../run/options.js'
import { type Run, textOf } from '../run/run.js'
import { hasCode } from './counters.js'
import type { Workload } from './workload.js'

/** Certain: nothing has been taken. */
const REFUSALS = new Set([
  'INSUFFICIENT_QUANTITY',
  'INSUFFICIENT_RIGHTS',
  'NOT_RUNNING',
  'DISK_FULL',
  'JOURNAL_FAILED',
  'OVERLOADED',
  // The same operation id is still waiting for rights.
  'CONFLICT',
])
/** Errors that may come instead of an acknowledgement; the operation stands. */
const UNKNOWNS = new Set(['NOT_RUNNING', 'DISK_FULL', 'JOURNAL_FAILED', 'OVERLOADED', 'LEVEL_NOT_REACHED'])
const INDETERMINATE = new Set(['OUTCOME_UNKNOWN'])
const ID_SHARE = 0.4
const QUORUM_SHARE = 0.1
const MAX_RETRIES = 3
const MAX_RETRY_MS = 8_000
const MOST_WITHDRAWN = 5
const MOST_DEPOSITED = 8

export type Kind = 'deposit' | 'move' | Way
/** How a withdrawal is asked for. */
type Way = 'try' | 'now' | 'optimistic' | 'backed'
const WAYS: readonly Way[] = ['try', 'now', 'optimistic', 'backed']
/** Share of the retries that ask in another way. */
const OTHER_WAY_SHARE = 0.3

/** One thing that a player wants, asked for once or, with an operation id, as often as it takes. */
export interface Wish {
  readonly server: Server<MeshNode>
  readonly kind: Kind
  readonly place: Place
  /** Where a move puts what it takes. */
  readonly target: Place
  readonly item: string
  readonly amount: bigint
  readonly operationId: string | undefined
  /** Its name in the ledger of the server. */
  readonly by: string
  readonly draw: SeededRandom
  /** How often `entries` was begun anew. */
  attempts: number
  /** What is counted for it, once it may have happened: the second for the other half of a move. */
  entries: LedgerEntry[]
}

/** Servers that all want the last of a few items: every mode, operation ids with retries, and moves. */
export const withdrawals: Workload = {
  name: 'withdrawals',
  begin(run) {
    const random = run.cluster.kernel.random.fork('workload-withdrawals')
    const { operationsPerSecond, safetyMs } = run.options
    const count = Math.ceil((operationsPerSecond * safetyMs) / 1000)
    for (let number = 0; number < count; number++) {
      const draw = random.fork(number)
      const atMs = draw.uniform() * safetyMs
      const wish = drawWish(run, draw, number)
      if (wish === undefined) continue
      run.cluster.after(atMs, () => ask(run, wish))
      const retries = wish.operationId === undefined ? 0 : draw.integer(0, MAX_RETRIES)
      for (let retry = 0; retry < retries; retry++)
        run.cluster.after(atMs + draw.integer(1, MAX_RETRY_MS), () => ask(run, wish, retryKind(run, wish)))
      run.plannedEvents += 1 + retries
    }
  },
}

function drawWish(run: Run, draw: SeededRandom, number: number): Wish | undefined {
  const server = draw.pick(run.cluster.servers)
  const kind = drawKind(run, draw)
  const shared = run.places.filter(({ world }) => world === undefined)
  const place = kind === 'move' ? draw.pick(shared) : draw.pick(run.places)
  if (!run.hosts(server.number, place)) return undefined
  const target = shared.find((other) => other !== place) ?? place
  const by = `wish-${number}`
  return wishOf(run, {
    server,
    kind,
    place,
    target,
    item: draw.pick(run.items),
    amount: BigInt(draw.integer(1, kind === 'deposit' ? MOST_DEPOSITED : MOST_WITHDRAWN)),
    operationId: draw.chance(ID_SHARE) ? by : undefined,
    by,
    draw,
  })
}

/** A wish whose lines in the server's ledger are known from now on. */
export function wishOf(run: Run, asked: Omit<Wish, 'attempts' | 'entries'>): Wish {
  const wish: Wish = { ...asked, attempts: 0, entries: [] }
  run.named.set(wish.by, namedOf(wish))
  return wish
}

function namedOf(wish: Wish): Named {
  const { amount, item, kind, place, server, target } = wish
  const first = { type: kind === 'deposit' ? 'deposit' : 'withdraw', place } as const
  return {
    server: server.number,
    item,
    amount,
    lines: kind === 'move' ? [first, { type: 'deposit', place: target }] : [first],
    get attempts() {
      return wish.attempts
    },
    get entries() {
      return wish.entries
    },
  }
}

function drawKind(run: Run, draw: SeededRandom): Kind {
  if (draw.chance(run.options.depositShare)) return 'deposit'
  const kind = draw.uniform()
  if (kind < 0.25) return 'try'
  if (kind < 0.4) return 'move'
  if (run.options.backedOnly || kind >= 0.8) return 'backed'
  return kind < 0.5 ? 'now' : 'optimistic'
}

/** An id is one operation, whatever way a retry goes. */
function retryKind({ options }: Run, { draw, kind }: Wish): Kind {
  if (kind === 'deposit' || kind === 'move' || options.backedOnly || !draw.chance(OTHER_WAY_SHARE))
    return kind
  return draw.pick(WAYS)
}

export function ask(run: Run, wish: Wish, kind = wish.kind): void {
  run.cluster.within(wish.server, (node) => {
    const storage = run.storage(node, wish.place)
    const before = storage.quantity(wish.item)
    const wasDone = isDone(run, wish)
    perform(run, node, storage, wish, kind)
    if (wasDone && storage.quantity(wish.item) !== before)
      run.fail('W12', `${nameOf(wish)} took effect again`, wish.server.number)
  })
}

/** The node has acknowledged it, and has lost nothing since: asked for again, it must change nothing. */
function isDone(run: Run, { entries, server }: Wish): boolean {
  return entries.some(
    (entry) =>
      !entry.void && entry.durableUs !== undefined && !run.ledger.hasLostSince(server.number, entry.atUs),
  )
}

function perform(run: Run, node: MeshNode, storage: Storage, wish: Wish, kind: Kind): void {
  const { amount, by, item, operationId } = wish
  const options = operationId === undefined ? { by } : { by, operationId }
  try {
    if (kind === 'deposit') done(run, node, wish, storage.deposit(item, amount, options))
    else if (kind === 'move') {
      const taken = { item, withdraw: amount }
      const put = { item, deposit: amount, storage: wish.target.storage }
      done(run, node, wish, storage.batch([taken, put], options))
    } else if (kind === 'try') {
      const receipt = storage.tryWithdraw(item, amount, options)
      if (receipt) done(run, node, wish, receipt)
      else run.withdrawals.counts.refused += 1
    } else if (kind === 'now') done(run, node, wish, storage.withdrawNow(item, amount, options))
    else withdraw(run, node, storage, wish, kind, options)
  } catch (error) {
    refused(run, wish, error)
  }
}

function withdraw(run: Run, node: MeshNode, storage: Storage, wish: Wish, kind: Way, options: object): void {
  const { amount, draw, item, server } = wish
  const { generation } = server
  const mode = kind === 'backed' ? { mode: kind, timeoutMs: draw.pick([0, 300, 1_000, 3_000]) } : {}
  // From here on it may happen, whatever becomes of this process.
  const isFirst = !mayHaveHappened(run, wish)
  const entries = entriesOf(run, wish)
  const asked = storage.withdraw(item, amount, { ...options, ...mode })
  const answered = asked.then((receipt) => {
    if (server.generation === generation) done(run, node, wish, receipt)
  })
  run.ask(server, nameOf(wish), answered, (error) => {
    // Taken, and not on disk yet: it stands, or it is lost with this process.
    if (error === undefined || hasCode(error, INDETERMINATE)) return
    if (isFirst) for (const entry of entries) entry.void = true
    refused(run, wish, error)
  })
}

function refused(run: Run, wish: Wish, error: unknown): void {
  run.withdrawals.counts.refused += 1
  if (!hasCode(error, REFUSALS))
    run.fail('O2', `${nameOf(wish)} refused: ${textOf(error)}`, wish.server.number)
}

/** An attempt so far counts, or may; and the server would know of it. */
function mayHaveHappened(run: Run, { entries, server }: Wish): boolean {
  const [first] = entries
  return first !== undefined && !first.void && !run.ledger.hasLostSince(server.number, first.atUs)
}

/** What is counted for the wish from now on: the same as for an attempt before, if that may have happened. */
function entriesOf(run: Run, wish: Wish): readonly LedgerEntry[] {
  if (mayHaveHappened(run, wish)) return wish.entries
  const { amount, item, kind, place, server, target } = wish
  const isMove = kind === 'move'
  const common = { item, amount, server: server.number, atUs: run.nowUs, isMove }
  const taken = kind === 'deposit' ? 'deposit' : 'withdraw'
  const entries = [run.ledger.record({ ...common, kind: taken, storage: place.storage })]
  if (isMove) entries.push(run.ledger.record({ ...common, kind: 'deposit', storage: target.storage }))
  // The server has lost its disk since an attempt that may have been seen elsewhere, and may learn of it any time.
  const before = wish.entries.some((entry) => !entry.void)
  for (const entry of entries) entry.isOptional = before
  wish.entries = entries
  wish.attempts += 1
  return entries
}

function done(run: Run, node: MeshNode, wish: Wish, receipt: Receipt): void {
  const { draw, server } = wish
  const name = nameOf(wish)
  const entries = entriesOf(run, wish)
  run.cluster.recorder?.mark({ kind: 'operation', server: server.number, atUs: run.nowUs, label: name })
  if (receipt instanceof Withdrawal) run.withdrawals.made(entries[0]!, receipt)
  run.ask(server, `${name}: durable`, receipt.durable, (error) => {
    if (error === undefined) for (const entry of entries) entry.durableUs ??= run.nowUs
    else if (!hasCode(error, UNKNOWNS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
  })
  if (!draw.chance(QUORUM_SHARE)) return
  run.ask(server, `${name}: QUORUM`, receipt.reached('QUORUM', { timeoutMs: 3_000 }), (error) => {
    if (error !== undefined) {
      if (!hasCode(error, UNKNOWNS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
      return
    }
    const { world } = wish.place
    const holders = node.members().filter(({ worlds }) => world === undefined || worlds.includes(world))
    const quorum = { atUs: run.nowUs, servers: Math.floor(holders.length / 2) + 1 }
    for (const entry of entries) {
      entry.quorum ??= quorum
      entry.durableUs ??= run.nowUs
    }
  })
}

function nameOf({ amount, item, kind, operationId, place, server }: Wish): string {
  const id = operationId === undefined ? '' : ` as ${operationId}`
  return `${kind} ${amount} ${item} in ${place.storage} on ${server.name}${id}`
}
