import { expect, test } from '@jest/globals';
import { createAgents, findProxy } from '../../src/uipath/agents.ts';

const proxy = 'http://proxy:3128';

test.each([
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy }, proxy],
  ['https://cloud.uipath.com/x', { https_proxy: proxy, HTTPS_PROXY: 'http://other' }, proxy],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: 'proxy:3128' }, proxy],
  ['https://cloud.uipath.com/x', {}, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: '' }, undefined],
  ['http://cloud.uipath.com/x', { HTTPS_PROXY: proxy }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, NO_PROXY: '*' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, NO_PROXY: 'a.b, Cloud.UiPath.com' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: '.uipath.com' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: '*.uipath.com' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: 'uipath.com:443' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: 'uipath.com:8443' }, proxy],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: 'path.com,,' }, proxy],
])('%s with %j goes through %s', (url, environment, expected) => {
  expect(findProxy(url, environment)).toBe(expected);
});

test('a proxy that is no URL is named by its variable and not quoted', () => {
  const create = () => createAgents('https://host/', { HTTPS_PROXY: 'http://user:hunter2@:bad:' });
  expect(create).toThrow('HTTPS_PROXY is not a URL');
  expect(create).not.toThrow('hunter2');
});
