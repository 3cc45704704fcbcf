import Testing

import PluginABI
