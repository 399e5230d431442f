/** One item as one server audits it: [key, deposited, withdrawn, compensated, provisional, rights, quantity]. */
export type AuditRow = readonly [string, string, string, string, string, string, string]

export interface AuditVerdict {
  /** Every server: rights = quantity = deposited − withdrawn + compensated, nothing provisional; and all agree. */
  readonly isBalanced: boolean
  /** Items whose true sum is negative somewhere. */
  readonly overdrawn: number
  /** For people, at most a few. */
  readonly wrong: readonly string[]
}

const MAX_WRONG_SHOWN = 10

export function judgeAudits(audits: readonly (readonly AuditRow[])[]): AuditVerdict {
  const overdrawn = new Set<string>()
  const wrong = new Set<string>()
  const [first] = audits.map(byKey)
  for (const rows of audits) {
    const isSame = rows.length === first!.size && rows.every((row) => first!.get(row[0]) === row.join())
    if (!isSame) wrong.add('the servers audit different totals')
    for (const row of rows) {
      const [deposited, withdrawn, compensated, provisional, rights, quantity] = row.slice(1).map(BigInt)
      if (quantity! < 0n) overdrawn.add(row[0])
      const remaining = deposited! - withdrawn! + compensated!
      if (remaining !== quantity || rights !== quantity || provisional !== 0n) wrong.add(describe(row))
    }
  }
  return {
    isBalanced: wrong.size === 0,
    overdrawn: overdrawn.size,
    wrong: [...wrong].slice(0, MAX_WRONG_SHOWN),
  }
}

function byKey(rows: readonly AuditRow[]): Map<string, string> {
  return new Map(rows.map((row) => [row[0], row.join()]))
}

function describe([key, deposited, withdrawn, compensated, provisional, rights, quantity]: AuditRow): string {
  return (
    `${key}: deposited ${deposited}, withdrawn ${withdrawn}, compensated ${compensated}, provisional ${provisional}, ` +
    `rights ${rights}, quantity ${quantity}`
  )
}
