import type { Command } from 'commander'
import type { CommandContext } from '../context.js'
import { ControlClient } from '../control-client.js'
import { findDataDir } from '../data-directory.js'
import { ExitCode } from '../exit-codes.js'
import { painter, printJson, printTable } from '../output.js'
import { addClientOptions, appended, type CommonOptions, collect } from './common.js'

interface AuditOptions extends CommonOptions {
  readonly with?: string[]
}

interface RowJson {
  readonly storage: string
  readonly world: string | null
  readonly item: string
  readonly deposited: string
  readonly withdrawn: string
  readonly compensated: string
  readonly provisional: string
  readonly rights: string
  readonly quantity: string
}

const MAX_ROWS_SHOWN = 50

export function addAudit(
  program: Command,
  context: CommandContext,
  setExitCode: (code: number) => void,
): void {
  const command = program
    .command('audit')
    .description('do the sums fit: deposited, withdrawn, compensated, rights, quantity')
    .option('--with <data-dir>', 'compare with that other server on this machine (repeatable)', appended)
  addClientOptions(command).addHelpText(
    'after',
    `
Checks each item of one server: deposited - withdrawn + compensated = rights = quantity, not negative unless
provisional withdrawals explain it. With --with the totals of the other servers are compared, item by item; servers
of other machines are compared every minute by the nodes themselves, with checksums (\`watch\` shows "mismatch").
While items move, servers differ by what is on its way: a mismatch counts when it stays. Exit code 1 on a mismatch.`,
  )
  command.action(async (options: AuditOptions) => {
    if (!(await audit(context, options))) setExitCode(ExitCode.failed)
  })
}

async function audit(context: CommandContext, options: AuditOptions): Promise<boolean> {
  const { stdout, stderr, variables } = context
  const dataDir = await findDataDir(options.dataDir, context)
  const servers = [dataDir, ...(options.with ?? [])]
  const audits = await Promise.all(servers.map((directory) => auditOf(context, directory)))
  const [own] = audits as [RowJson[]]
  const wrong = own.filter((row) => !fits(row))
  const differing = new Set<string>()
  for (const other of audits.slice(1)) {
    for (const key of differences(own, other)) differing.add(key)
  }
  const isBalanced = wrong.length === 0 && differing.size === 0
  const result = {
    servers,
    items: own.length,
    wrong: wrong.map((row) => ({ ...row })),
    differing: [...differing],
  }
  if (options.json) {
    printJson(stdout, { balanced: isBalanced, ...result })
    return isBalanced
  }
  const paint = painter(stdout, variables)
  stdout.write(
    `${own.length} items: ${isBalanced ? paint('balanced', 'good') : paint('unbalanced', 'bad')}\n`,
  )
  if (wrong.length > 0) {
    const head = [
      'storage',
      'item',
      'deposited',
      'withdrawn',
      'compensated',
      'provisional',
      'rights',
      'quantity',
    ]
    const cells = wrong.slice(0, MAX_ROWS_SHOWN).map(({ world: _, ...row }) => Object.values(row))
    printTable(stdout, head, cells)
  }
  for (const key of [...differing].slice(0, MAX_ROWS_SHOWN)) stdout.write(`the servers differ in ${key}\n`)
  if (!isBalanced)
    stderr.write('repeat when nothing moves; what stays is a defect: keep the data directories\n')
  return isBalanced
}

async function auditOf(context: CommandContext, dataDir: string): Promise<RowJson[]> {
  using client = await ControlClient.connect(dataDir, context.environment.scheduler)
  return await collect<RowJson>(client.stream('audit'))
}

function fits({ deposited, withdrawn, compensated, provisional, rights, quantity }: RowJson): boolean {
  const remaining = BigInt(deposited) - BigInt(withdrawn) + BigInt(compensated)
  return remaining === BigInt(quantity) && rights === quantity && BigInt(quantity) + BigInt(provisional) >= 0n
}

function differences(left: readonly RowJson[], right: readonly RowJson[]): string[] {
  const texts = (rows: readonly RowJson[]) => new Map(rows.map((row) => [keyOf(row), JSON.stringify(row)]))
  const [ours, theirs] = [texts(left), texts(right)]
  return [...new Set([...ours.keys(), ...theirs.keys()])].filter((key) => ours.get(key) !== theirs.get(key))
}

function keyOf({ storage, world, item }: RowJson): string {
  return world === null ? `${storage} ${item}` : `${storage} (${world}) ${item}`
}
