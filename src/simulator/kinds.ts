import { below, pick, type Random } from './random.ts';

interface Draft {
  details: unknown;
  /** Replace `{0}` and `{1}` in the message. */
  names: string[];
}

export interface Kind {
  category: string;
  action: string;
  source: string;
  /** The message by language; any other language gets English, as on the real server. */
  messages: { en: string; [language: string]: string };
  /** Number of different rows of this kind for one seed, ignoring their time. */
  variants: number;
  draft(random: Random, variant: number, policyBytes: number): Draft;
}

interface Person {
  userName: string;
  email: string;
}

const FIRST_NAMES =
  'Ana Bogdan Chen Daniela Emeka Fatima Grzegorz Hélène Ioana Jürgen Keiko Liam Mária Nikhil Olga Paulo Quentin Rosa Søren 直樹'.split(
    ' ',
  );
const LAST_NAMES =
  "Almeida Brown Costa Dumitrescu Eriksen Fernández Gupta Hoffmann Ionescu Jansen Kowalski Lefèvre Müller Nakamura O'Neill Popescu Quinn Rossi Schmidt Tanaka Ueda Vasile Wagner Yılmaz 田中".split(
    ' ',
  );
export const PRODUCTS = ['Assistant', 'Robot', 'Studio', 'StudioX', 'Studio Pro', 'Automation Ops'];
const GROUPS = [
  'Administrators',
  'Automation Developers',
  'Automation Users',
  'Citizen Developers',
  'Everyone',
];
const DEPARTMENTS = ['Claims', 'Finance', 'HR', 'Logistics', 'Procurement', 'Treasury'];

/** Returns one of 500 people; the same number gives the same person. */
export function personOf(number: number): Person {
  const first = FIRST_NAMES[number % FIRST_NAMES.length]!;
  const last = LAST_NAMES[Math.floor(number / FIRST_NAMES.length) % LAST_NAMES.length]!;
  const mailbox = `${first}.${last}`
    .normalize('NFD')
    .replace(/[^A-Za-z.]/g, '')
    .toLowerCase();
  return {
    userName: `${first} ${last}`,
    email: `${mailbox.length > 1 ? mailbox : `user${number}`}@example.com`,
  };
}

function guid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => below(random, 16).toString(16)).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** A policy of about `bytes` bytes as JSON. */
export function policy(random: Random, name: string, bytes: number): object {
  const rules: unknown[] = [];
  for (let size = 0; size < bytes; size += 150) {
    rules.push({
      id: guid(random),
      rule: `ST-NMG-${below(random, 1000)}`,
      enabled: random() < 0.5,
      level: 'Warning',
    });
  }
  return {
    name,
    product: pick(random, PRODUCTS),
    priority: below(random, 10),
    data: { 'embedded-rules': rules },
  };
}

function policyName(random: Random): string {
  return `${pick(random, DEPARTMENTS)} policy ${below(random, 100)}`;
}

/** The documented kinds. Undocumented parts are invented. */
export const KINDS = {
  login: {
    category: 'User',
    action: 'Login',
    source: 'Cis',
    messages: {
      en: "User '{0}' logged in",
      de: "Benutzer '{0}' hat sich angemeldet",
      fr: "L'utilisateur « {0} » s'est connecté",
      ja: 'ユーザー「{0}」がログインしました',
    },
    variants: 500,
    draft: (_random, variant) => {
      const { userName, email } = personOf(variant);
      return { details: { userName, email }, names: [userName] };
    },
  },
  userCreate: {
    category: 'User',
    action: 'Create',
    source: 'Cis',
    messages: {
      en: "User '{0}' was created",
      de: "Benutzer '{0}' wurde erstellt",
      ja: 'ユーザー「{0}」が作成されました',
    },
    variants: 256,
    draft: (random) => {
      const { userName, email } = personOf(below(random, 500));
      return {
        details: {
          id: guid(random),
          userName,
          email,
          groups: [pick(random, GROUPS)],
          invitationAccepted: random() < 0.5,
        },
        names: [userName],
      };
    },
  },
  userDelete: {
    category: 'User',
    action: 'Delete',
    source: 'Cis',
    messages: {
      en: "User '{0}' was deleted",
      de: "Benutzer '{0}' wurde gelöscht",
      ja: 'ユーザー「{0}」が削除されました',
    },
    variants: 128,
    draft: (random) => {
      const { userName, email } = personOf(below(random, 500));
      return { details: { id: guid(random), userName, email }, names: [userName] };
    },
  },
  groupUpdate: {
    category: 'Group',
    action: 'Update',
    source: 'Cis',
    messages: {
      en: "Group '{0}' was updated",
      de: "Gruppe '{0}' wurde aktualisiert",
      ja: 'グループ「{0}」が更新されました',
    },
    variants: 256,
    draft: (random) => {
      const name = pick(random, GROUPS);
      const added = [guid(random), guid(random)];
      return {
        details: { groupId: guid(random), name, addedMembers: added, removedMembers: [] },
        names: [name],
      };
    },
  },
  robotAccountCreate: {
    category: 'RobotAccount',
    action: 'Create',
    source: 'Cis',
    messages: { en: "Robot account '{0}' was created", de: "Roboterkonto '{0}' wurde erstellt" },
    variants: 256,
    draft: (random) => {
      const name = `bot-${pick(random, DEPARTMENTS).toLowerCase()}-${below(random, 1000)}`;
      return { details: { id: guid(random), name, displayName: name, groups: ['Everyone'] }, names: [name] };
    },
  },
  externalClientUpdate: {
    category: 'ExternalClient',
    action: 'Update',
    source: 'Cis',
    messages: {
      en: "External application '{0}' was updated",
      de: "Externe Anwendung '{0}' wurde aktualisiert",
    },
    variants: 64,
    draft: (random) => {
      const name = `${pick(random, DEPARTMENTS)} integration`;
      const scopes = ['OR.Queues', 'OR.Jobs.Read', 'PM.Audit.Read'].slice(below(random, 3));
      return { details: { clientId: guid(random), name, isConfidential: true, scopes }, names: [name] };
    },
  },
  authenticationSettingUpdate: {
    category: 'AuthenticationSetting',
    action: 'Update',
    source: 'Cis',
    messages: {
      en: 'Authentication settings were updated',
      de: 'Authentifizierungseinstellungen wurden aktualisiert',
    },
    variants: 32,
    draft: (random) => ({
      details: {
        externalIdentityProvider: 'aad',
        isExclusive: random() < 0.5,
        passwordMinLength: 8 + below(random, 8),
      },
      names: [],
    }),
  },
  licenseRenew: {
    category: 'License Management',
    action: 'Renew',
    source: 'Licensing',
    messages: { en: "License '{0}' was renewed", de: "Lizenz '{0}' wurde verlängert" },
    variants: 16,
    draft: (random) => {
      const code = `${below(random, 9000) + 1000}-${below(random, 9000) + 1000}`;
      return { details: { licenseCode: code, products: { ATTUNU: 5 + below(random, 50) } }, names: [code] };
    },
  },
  policyCreate: {
    category: 'Governance',
    action: 'Create Policy',
    source: 'Governance',
    messages: { en: "Policy '{0}' was created", de: "Richtlinie '{0}' wurde erstellt" },
    variants: 16,
    draft: (random, _variant, policyBytes) => {
      const name = policyName(random);
      return { details: policy(random, name, policyBytes / 2), names: [name] };
    },
  },
  policyEdit: {
    category: 'Governance',
    action: 'Edit Policy',
    source: 'Governance',
    messages: { en: "Policy '{0}' was edited", de: "Richtlinie '{0}' wurde bearbeitet" },
    variants: 16,
    draft: (random, _variant, policyBytes) => {
      const name = policyName(random);
      const half = policyBytes / 2;
      return {
        details: { before: policy(random, name, half), after: policy(random, name, half) },
        names: [name],
      };
    },
  },
  policyDeploy: {
    category: 'Governance',
    action: 'Deploy To User',
    source: 'Governance',
    messages: {
      en: "Policy of '{0}' was deployed to user '{1}'",
      de: "Richtlinie für '{0}' wurde Benutzer '{1}' zugewiesen",
    },
    variants: 64 * PRODUCTS.length,
    draft: (_random, variant) => {
      const product = PRODUCTS[variant % PRODUCTS.length]!;
      const { userName, email } = personOf(Math.floor(variant / PRODUCTS.length));
      return { details: { product, user: { userName, email }, policy: null }, names: [product, userName] };
    },
  },
} satisfies Record<string, Kind>;
