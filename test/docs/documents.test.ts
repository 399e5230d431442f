import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import t from 'tap'
import ts from 'typescript'
import { CONFIG_KEYS } from '../../src/cli/config-file.js'
import { EXIT_CODE_HELP } from '../../src/cli/exit-codes.js'
import { createProgram } from '../../src/cli/program.js'
import { MUTANTS } from '../../src/simulation/mutants/all.js'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

const DOCUMENTS = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name.replaceAll('\\', '/')}`),
]

/** The text without code blocks and code spans. */
function proseOf(text: string): string {
  return text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, '')
}

/** How the sites that show Markdown name a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')
}

function anchorsOf(text: string): Set<string> {
  return new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!)))
}

/** Rows of all tables, as cells. */
function rowsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('| ---'))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    )
}

t.test('links lead somewhere', async (t) => {
  for (const document of DOCUMENTS) {
    const text = read(document)
    for (const [, target] of proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue
      const [path, anchor] = target!.split('#') as [string, string | undefined]
      const file = path === '' ? document : join(dirname(document), path)
      if (!existsSync(join(ROOT, file))) t.fail(`${document}: ${target}`)
      else if (anchor !== undefined && !anchorsOf(read(file)).has(anchor))
        t.fail(`${document}: no heading for ${target}`)
    }
  }
  t.ok(DOCUMENTS.length > 10, 'the documents are found')
})

t.test('documents know nothing of the machine that they were written on', async (t) => {
  for (const document of DOCUMENTS) {
    const found = /(?:^|[\s"'`(])\/(?:work|tmp|root|home)\//.exec(read(document))
    if (found) t.fail(`${document}: ${found[0]}`)
  }
  t.pass()
})

const ARCHITECTURE = read('docs/architecture.md')

t.test('the table of folders is the one that test/structure checks', async (t) => {
  const shown = Object.fromEntries(
    rowsOf(ARCHITECTURE)
      .filter((row) => row.length === 3 && /^`[a-z]+`$/.test(row[0]!))
      .map(([folder, , below]) => [
        folder!.slice(1, -1),
        [...below!.matchAll(/`([a-z]+)`/g)].map(([, name]) => name!).sort(),
      ]),
  )
  t.same(shown, arrows())
})

/** The table in test/structure/structure.test.ts. */
function arrows(): Record<string, string[]> {
  const tree = ts.createSourceFile(
    'structure.ts',
    read('test/structure/structure.test.ts'),
    ts.ScriptTarget.ES2022,
    true,
  )
  const table: Record<string, string[]> = {}
  const look = (node: ts.Node): void => {
    if (
      ts.isVariableDeclaration(node) &&
      node.name.getText() === 'ARROWS' &&
      ts.isObjectLiteralExpression(node.initializer!)
    ) {
      for (const property of node.initializer.properties as ts.NodeArray<ts.PropertyAssignment>) {
        const list = property.initializer as ts.ArrayLiteralExpression
        table[property.name.getText()] = list.elements
          .map((element) => (element as ts.StringLiteral).text)
          .sort()
      }
    }
    ts.forEachChild(node, look)
  }
  look(tree)
  return table
}

const SOURCES = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replaceAll('\\', '/'))

const INVARIANT_ROWS = rowsOf(ARCHITECTURE).filter(([id]) => /^(?:[A-Z]|RAFT-)\d{1,2}$/.test(id!))
/** Id → its row. */
const INVARIANTS = new Map(INVARIANT_ROWS.map((row) => [row[0]!, row]))

t.test('every invariant has one row', async (t) => {
  const ids = INVARIANT_ROWS.map(([id]) => id!)
  t.same(
    ids.filter((id, position) => ids.indexOf(id) !== position),
    [],
    'said twice',
  )
})

t.test(
  'every invariant that a checker can report has a row, and every row is spoken of in the code',
  async (t) => {
    const spoken = new Set<string>()
    for (const source of SOURCES) {
      const text = read(`src/${source}`)
      for (const [id] of text.matchAll(/\b(?:[A-Z]|RAFT-)\d{1,2}\b/g)) spoken.add(id)
      if (!source.startsWith('simulation/')) continue
      const reported = [
        ...text.matchAll(/\brun\.fail\(\s*'([^']+)'/g),
        ...text.matchAll(/\binvariant: '([^']+)'/g),
      ]
      for (const [, id] of reported) t.ok(INVARIANTS.has(id!), `${id}, reported by ${source}`)
    }
    for (const id of INVARIANTS.keys()) t.ok(spoken.has(id), `${id} is spoken of in src`)
  },
)

t.test('what the invariants name exists', async (t) => {
  const mutants = new Set(MUTANTS.map(({ name }) => name))
  for (const [id, row] of INVARIANTS) {
    const text = row.join(' ')
    for (const [, path] of text.matchAll(/`([a-z-]+(?:\/[a-z-]+)*\/[a-z-]+\.ts)`/g))
      t.ok(SOURCES.includes(path!), `${id}: ${path}`)
    for (const [path] of text.matchAll(/test\/[\w/-]+(?:\.test)?\.ts/g))
      t.ok(existsSync(join(ROOT, path)), `${id}: ${path}`)
    for (const [, list] of text.matchAll(/mutants? ((?:`[a-z-]+`(?:, )?)+)/g))
      for (const [, name] of list!.matchAll(/`([a-z-]+)`/g)) t.ok(mutants.has(name!), `${id}: ${name}`)
  }
  for (const [path] of ARCHITECTURE.matchAll(/(?<=`)src\/[\w/-]+\.ts(?=`)/g))
    t.ok(existsSync(join(ROOT, path)), path)
})

t.test('every dependency is explained, in the version that is installed', async (t) => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json'))
  const shown = Object.fromEntries(
    rowsOf(read('docs/dependencies.md'))
      .filter(([name]) => name!.startsWith('`'))
      .map(([name, version]) => [name!.slice(1, -1), version]),
  )
  t.same(shown, { ...dependencies, ...devDependencies })
})

/** Writes the tables anew instead of comparing them: whoever adds a command sees it in the commit. */
const UPDATE = process.env.UPDATE_TABLES === '1'

t.test('the command line is described as it is', async (t) => {
  const path = join(ROOT, 'docs/cli.md')
  const tables: Record<string, string> = {
    commands: table(['command', 'what it does', 'options'], commandRows(program(), 'silo-mesh')),
    'exit codes': table(
      ['code', 'meaning'],
      [...EXIT_CODE_HELP.matchAll(/^ {2}(\d+) +(.*(?:\n {6}\S.*)*)/gm)].map(([, code, meaning]) => [
        code!,
        meaning!.replace(/\s+/g, ' '),
      ]),
    ),
    keys: table(
      ['key', 'meaning'],
      Object.entries(CONFIG_KEYS).map(([key, meaning]) => [`\`${key}\``, meaning]),
    ),
  }
  const given = readFileSync(path, 'utf8')
  let made = given
  for (const [name, text] of Object.entries(tables)) {
    const place = new RegExp(`<!-- ${name} -->\n.*?<!-- end -->`, 's')
    t.match(given, place, `there is a place for ${name}`)
    made = made.replace(place, () => `<!-- ${name} -->\n${text}<!-- end -->`)
  }
  if (UPDATE) writeFileSync(path, made)
  else t.equal(given, made, 'docs/cli.md')
})

function program(): Command {
  const nothing = { write: () => true }
  const context = { stdout: nothing, stderr: nothing, variables: {} }
  return createProgram(context as unknown as Parameters<typeof createProgram>[0], () => undefined)
}

function commandRows(command: Command, words: string): string[][] {
  return command.commands.flatMap((below) => {
    const name = `${words} ${below.name()}`
    if (below.commands.length > 0) return commandRows(below, name)
    const given = below.registeredArguments.map((argument) =>
      argument.required ? ` <${argument.name()}>` : ` [${argument.name()}]`,
    )
    const options = below.options.filter(({ long }) => long !== '--json' && long !== '--data-dir')
    return [
      [
        `\`${name}${given.join('')}\``,
        below.description(),
        options.map(({ flags }) => `\`${flags}\``).join(' '),
      ],
    ]
  })
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  return [head, head.map(() => '---'), ...rows].map(line).join('')
}
