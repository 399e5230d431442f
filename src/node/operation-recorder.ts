import type { Quantity } from '../crdt/rights.js'
import type { Clock } from '../environment/environment.js'
import type { LedgerLine } from '../ledger/entry.js'
import type { Ledger } from '../ledger/ledger.js'
import type { Move } from '../mover/transfer-run.js'
import { checkAmount } from '../sync/checks.js'
import { InvalidArgumentError, SiloMeshError } from '../sync/errors.js'
import { canonicalItemKey } from '../sync/item-key.js'
import type { BatchWrite } from './batch.js'
import type { WithdrawalCase } from './withdrawal.js'
import type { WriteGroup } from './write-group.js'

/** Who does something: part of the options of every write. */
export interface ByOption {
  /** Who, for the ledger: up to 128 characters like `player:steve`. */
  readonly by?: string
}

/** What a caller says of an operation. */
export interface Who {
  readonly by?: string | undefined
  readonly operationId?: string | undefined
}

/** What is to be written down of an operation on one item. */
export interface Operation {
  readonly type: 'deposit' | 'withdraw'
  readonly storage: string
  readonly world: string | undefined
  readonly item: string
  readonly amount: Quantity
}

/** A made withdrawal, as far as the ledger tells of it. */
export interface Made {
  readonly id: string
  readonly kind: 'backed' | 'provisional'
}

/** Lines whose group commit is under way; beyond it they are counted and not kept. */
export const MAX_LINES_UNDER_WAY = 65_536
/** Provisional withdrawals of which it is remembered who made them. */
const MAX_ACTORS_REMEMBERED = 10_000

/**
 * Writes into the ledger what this server does. A line waits until the group commit that carries its operation is
 * durable (invariant G1), so what is written down has happened; after a crash the last ones may be missing, never
 * wrong.
 */
export class OperationRecorder {
  private readonly underWay = new Map<WriteGroup, LedgerLine[]>()
  private linesUnderWay = 0
  private readonly actors = new Map<string, string>()
  private lastGroup = 0

  constructor(
    private readonly ledger: Ledger,
    private readonly clock: Clock,
  ) {}

  made(operation: Operation, who: Who | undefined, group: WriteGroup, made?: Made): void {
    const withdrawalId = made?.kind === 'provisional' ? made.id : undefined
    if (withdrawalId !== undefined && who?.by !== undefined) this.remember(withdrawalId, who.by)
    const kind = operation.type === 'deposit' ? undefined : (made?.kind ?? 'backed')
    this.wait(group, this.line(operation, who, { outcome: 'durable', withdrawalId, kind }))
  }

  /** Several at once, all or none: of a batch, or the two sides of a move. */
  madeTogether(operations: readonly Operation[], who: Who | undefined, group: WriteGroup): void {
    const number = ++this.lastGroup
    for (const operation of operations) {
      const kind = operation.type === 'deposit' ? undefined : 'backed'
      this.wait(group, this.line(operation, who, { outcome: 'durable', kind, group: number }))
    }
  }

  /** A running transfer has moved items, between two storages of the shared partition. */
  moved({ transferId, source, target, item, amount }: Move, group: WriteGroup): void {
    const move = { world: undefined, item, amount }
    const operations: Operation[] = [
      { ...move, type: 'withdraw', storage: source },
      { ...move, type: 'deposit', storage: target },
    ]
    this.madeTogether(operations, { by: `transfer:${transferId}` }, group)
  }

  /** Nothing has happened. What is no operation at all (a malformed item, amount, option) is not written down. */
  refused(operations: readonly Operation[], who: Who | undefined, error: unknown): void {
    if (!(error instanceof SiloMeshError) || error instanceof InvalidArgumentError) return
    const group = operations.length > 1 ? ++this.lastGroup : 0
    for (const operation of operations)
      this.ledger.record(this.line(operation, who, { outcome: 'refused', code: error.code, group }))
  }

  /** A provisional withdrawal has gone on; durable already. */
  settled({ id, storage, item, amount, state }: WithdrawalCase, world: string | undefined): void {
    if (state !== 'confirmed' && state !== 'compensated' && state !== 'kept' && state !== 'parked') return
    const by = this.actors.get(id)
    if (state !== 'parked') this.actors.delete(id)
    const operation = { type: 'settlement', storage, world, item, amount } as const
    this.ledger.record(
      this.line(operation, by === undefined ? undefined : { by }, { outcome: state, withdrawalId: id }),
    )
  }

  private line(
    { type, storage, world, item, amount }: Omit<Operation, 'type'> & Pick<LedgerLine, 'type'>,
    who: Who | undefined,
    rest: Pick<LedgerLine, 'outcome'> & Partial<Pick<LedgerLine, 'withdrawalId' | 'kind' | 'group' | 'code'>>,
  ): LedgerLine {
    return {
      type,
      timeMs: this.clock.wallMs(),
      storage,
      world,
      item,
      amount: BigInt(amount),
      by: who?.by,
      operationId: who?.operationId,
      withdrawalId: rest.withdrawalId,
      kind: rest.kind,
      group: rest.group ?? 0,
      outcome: rest.outcome,
      code: rest.code,
    }
  }

  private wait(group: WriteGroup, line: LedgerLine): void {
    if (this.linesUnderWay >= MAX_LINES_UNDER_WAY) {
      this.ledger.miss('overload', 1)
      return
    }
    this.linesUnderWay += 1
    const lines = this.underWay.get(group)
    if (lines) {
      lines.push(line)
      return
    }
    this.underWay.set(group, [line])
    this.follow(group)
  }

  private follow(group: WriteGroup): void {
    group.durable.waitOut().then(
      () => {
        for (const line of this.take(group)) this.ledger.record(line)
      },
      () => this.ledger.miss('journal', this.take(group).length),
    )
  }

  private take(group: WriteGroup): readonly LedgerLine[] {
    const lines = this.underWay.get(group) ?? []
    this.underWay.delete(group)
    this.linesUnderWay -= lines.length
    return lines
  }

  private remember(withdrawalId: string, by: string): void {
    this.actors.set(withdrawalId, by)
    if (this.actors.size > MAX_ACTORS_REMEMBERED) this.actors.delete(this.actors.keys().next().value!)
  }
}

/** The operations of a batch, for the ledger. None when it is malformed: then it is refused as no operation at all. */
export function operationsOf(
  storage: string,
  world: string | undefined,
  writes: readonly BatchWrite[],
): Operation[] {
  try {
    return writes.map(({ item, deposit, withdraw, storage: other = storage }) => {
      const type = deposit === undefined ? 'withdraw' : 'deposit'
      const amount = checkAmount((deposit ?? withdraw) as number | bigint)
      return { type, storage: other, world, item: canonicalItemKey(item), amount }
    })
  } catch {
    return []
  }
}
