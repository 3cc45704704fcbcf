import PluginABI

@c(vc_plugin_entry_v1)
public func entry(
    _ host: UnsafePointer<vc_host>, _ module: UnsafeMutablePointer<UnsafePointer<vc_module>?>
) -> vc_status {
    vc_status(VC_E_UNSUPPORTED)
}
